import type { Test } from 'tap'
import { historiesContract } from './live-state-histories.ts'
import { limitHistoriesContract } from './live-state-limit-histories.ts'
import { limitsContract } from './live-state-limits.ts'
import { lineContract } from './live-state-line.ts'
import { moneyContract } from './live-state-money.ts'
import { processesContract } from './live-state-processes.ts'
import { propertiesContract } from './live-state-properties.ts'
import { sessionsContract } from './live-state-sessions.ts'
import { slotsContract } from './live-state-slots.ts'
import type { LiveStateMaker } from './live-state-support.ts'

/** Everything that src/live/live-state.ts promises, of one kind of live state. */
export async function liveStateContract(t: Test, maker: LiveStateMaker): Promise<void> {
  await t.test(`slots, moves, views and locks · ${maker.name}`, (t) => slotsContract(t, maker))
  await t.test(`the line · ${maker.name}`, (t) => lineContract(t, maker))
  await t.test(`sessions · ${maker.name}`, (t) => sessionsContract(t, maker))
  await t.test(`money · ${maker.name}`, (t) => moneyContract(t, maker))
  await t.test(`limits · ${maker.name}`, (t) => limitsContract(t, maker))
  await t.test(`processes · ${maker.name}`, (t) => processesContract(t, maker))
  await t.test(`what holds at any time · ${maker.name}`, (t) => propertiesContract(t, maker))
  await t.test(`random histories of limits · ${maker.name}`, (t) => limitHistoriesContract(t, maker))
  await t.test(`random histories · ${maker.name}`, (t) => historiesContract(t, maker))
}

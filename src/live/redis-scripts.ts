import { createHash } from 'node:crypto'
import { readAsset } from '../lib/assets.ts'

/** Modules that scripts are made of, in the order in which they build on one another. */
const BASE = [readAsset('src/live/redis-scripts/base.lua'), readAsset('src/live/redis-scripts/outcomes.lua')]
const WINDOWS = readAsset('src/live/redis-scripts/windows.lua')
const ENGINE = [
  ...BASE,
  readAsset('src/live/redis-scripts/slots.lua'),
  readAsset('src/live/redis-scripts/running.lua'),
  readAsset('src/live/redis-scripts/bindings.lua'),
  WINDOWS,
  readAsset('src/live/redis-scripts/limits.lua'),
  readAsset('src/live/redis-scripts/looks.lua'),
  readAsset('src/live/redis-scripts/standings.lua'),
  readAsset('src/live/redis-scripts/allowances.lua'),
  readAsset('src/live/redis-scripts/arrival.lua'),
  readAsset('src/live/redis-scripts/line.lua'),
  readAsset('src/live/redis-scripts/processes.lua'),
  readAsset('src/live/redis-scripts/vacancies.lua'),
  readAsset('src/live/redis-scripts/serving.lua'),
  readAsset('src/live/redis-scripts/wakes.lua'),
]
const GIVING_UP = [...ENGINE, readAsset('src/live/redis-scripts/giving-up.lua')]

/** Every script by its name: the modules that it needs, then its own body. */
const BODIES = {
  admit: [...ENGINE, readAsset('src/live/redis-scripts/admit.lua')],
  move: [...ENGINE, readAsset('src/live/redis-scripts/move.lua')],
  settle: [...ENGINE, readAsset('src/live/redis-scripts/settle.lua')],
  raise: [...ENGINE, readAsset('src/live/redis-scripts/raise.lua')],
  rerank: [...ENGINE, readAsset('src/live/redis-scripts/rerank.lua')],
  lookAgain: [...ENGINE, readAsset('src/live/redis-scripts/look-again.lua')],
  giveUp: [...ENGINE, readAsset('src/live/redis-scripts/give-up.lua')],
  drop: [...ENGINE, readAsset('src/live/redis-scripts/drop.lua')],
  confirm: [...BASE, readAsset('src/live/redis-scripts/confirm.lua')],
  join: [...GIVING_UP, readAsset('src/live/redis-scripts/join.lua')],
  beat: [...GIVING_UP, readAsset('src/live/redis-scripts/beat.lua')],
  leave: [...GIVING_UP, readAsset('src/live/redis-scripts/leave.lua')],
  register: [...ENGINE, readAsset('src/live/redis-scripts/register.lua')],
  beginLook: [...ENGINE, readAsset('src/live/redis-scripts/begin-look.lua')],
  endLook: [...ENGINE, readAsset('src/live/redis-scripts/end-look.lua')],
  beginUsageLook: [...ENGINE, readAsset('src/live/redis-scripts/begin-usage-look.lua')],
  endUsageLook: [...ENGINE, readAsset('src/live/redis-scripts/end-usage-look.lua')],
  dropLook: [...ENGINE, readAsset('src/live/redis-scripts/drop-look.lua')],
  standingsOf: [...ENGINE, readAsset('src/live/redis-scripts/standings-of.lua')],
  spentBy: [...BASE, readAsset('src/live/redis-scripts/spent-by.lua')],
  forget: [...ENGINE, readAsset('src/live/redis-scripts/forget.lua')],
  countPerMinute: [...BASE, WINDOWS, readAsset('src/live/redis-scripts/count-per-minute.lua')],
  lock: [...BASE, readAsset('src/live/redis-scripts/lock.lua')],
  unlock: [...BASE, readAsset('src/live/redis-scripts/unlock.lua')],
  admissions: [...ENGINE, readAsset('src/live/redis-scripts/admissions.lua')],
  tickets: [...ENGINE, readAsset('src/live/redis-scripts/tickets.lua')],
  bindings: [...ENGINE, readAsset('src/live/redis-scripts/bindings-of.lua')],
  unbind: [...ENGINE, readAsset('src/live/redis-scripts/unbind.lua')],
} as const

export type ScriptName = keyof typeof BODIES

/** A script as Redis is given it, and the name that it has there. */
export interface Script {
  source: string
  /** SHA-1 of the source, in hex. */
  sha: string
}

export const SCRIPTS = Object.fromEntries(
  Object.entries(BODIES).map(([name, parts]) => {
    const source = parts.join('\n')
    return [name, { source, sha: createHash('sha1').update(source).digest('hex') }]
  }),
) as Record<ScriptName, Script>

import { START_MS } from '../../support/store.ts'
import { between, exponential, inTurns } from '../load.ts'
import type { AccountPlan } from '../model-store.ts'
import type { ModelWindow } from '../model-upstream.ts'
import { type Finding, none, type Scenario } from '../scenario.ts'
import { Shares } from '../shares.ts'
import { World } from '../world.ts'

const SECOND = 1000
const HOUR = 3_600_000

interface Set {
  name: string
  /** Calls at a time. */
  clients: number
  /** Enough that two in a hundred are four sigma, for the smallest share. */
  calls: number
  serviceMs: number
  accounts: (calls: number, callsPerHour: number) => AccountPlan[]
}

/** The bounds of the shares in what follows: three equal ones need 80,000 calls, a quarter 120,000. */
const SETS: Set[] = [
  {
    ...{ name: 'low load, weights 3 to 2, one in reserve', clients: 1, calls: 65_000, serviceMs: 2 * SECOND },
    accounts: () => [
      { id: 'a', weight: 300 },
      { id: 'b', weight: 200 },
      { id: 'reserve', weight: 1000, priority: 60 },
    ],
  },
  {
    ...{ name: 'low load, windows in the middle of their time', clients: 1, calls: 130_000, serviceMs: 2 * SECOND },
    accounts: withWindows,
  },
  {
    ...{ name: 'high load, weights 2 to 1 to 1, priority first', clients: 300, calls: 130_000, serviceMs: 20 * SECOND },
    accounts: () => [
      { id: 'a', weight: 2 },
      { id: 'b', weight: 1 },
      { id: 'c', weight: 1 },
      { id: 'reserve', weight: 10, priority: 51 },
    ],
  },
  {
    ...{
      name: 'high load, windows in the middle of their time',
      clients: 300,
      calls: 130_000,
      serviceMs: 300 * SECOND,
    },
    accounts: withWindows,
  },
]

/** Shares of calls that belong to no conversation, while no account is at a limit. */
export const shares: Scenario = {
  name: 'shares: calls go where the effective weights say',
  calls: SETS.reduce((sum, { calls }) => sum + calls, 0),
  async play(seed, calls) {
    const findings: Finding[] = []
    let made = 0
    for (const [index, set] of SETS.entries()) {
      const part = Math.round((set.calls / shares.calls) * calls)
      findings.push(...(await playSet(set, seed + 100 * index, part)))
      made += part
    }
    return { calls: made, findings }
  },
}

async function playSet({ name, clients, serviceMs, accounts }: Set, seed: number, calls: number): Promise<Finding[]> {
  await using world = await World.open({
    seed,
    accounts: (random) =>
      accounts(calls, (clients * HOUR) / serviceMs).map((account) => ({
        serviceMs: () => exponential(random, serviceMs),
        ...account,
      })),
    users: [{ id: 'user' }],
  })
  const caller = world.caller('user/0')
  const counted = new Shares(world)
  await world.time.during(
    inTurns(clients, calls, async (client) => {
      // They do not all begin at the same moment.
      if (world.calls < clients) await world.time.sleep(between(world.random, 0, client * SECOND))
      const wentTo = counted.arrives()
      const { accountId } = await world.call(caller)
      wentTo(accountId ?? 'nobody')
    }),
  )
  return [...counted.findings(name), none(`${name}: nothing is left`, await world.close(), `${calls} calls`)]
}

/** Three accounts, used up differently far, that come to different ends of their windows; together they could take half as many calls again. */
function withWindows(calls: number, callsPerHour: number): AccountPlan[] {
  const window = (name: string, hours: number, used: number, leftHours: number, capacity: number): ModelWindow => ({
    ...{ name, lengthMs: hours * HOUR, capacity, used: used * capacity, resetAtMs: START_MS + leftHours * HOUR },
  })
  const account = (id: string, weight: number, used: number, leftHours: number): AccountPlan => ({
    ...{ id, weight, cost: () => 1 },
    windows: [window('5h', 5, used, leftHours, callsPerHour * 2.5), window('7d', 168, 0.3 + used / 4, 100, calls)],
  })
  return [account('early', 100, 0.2, 3), account('middle', 150, 0.5, 2.2), account('late', 100, 0.3, 4.5)]
}

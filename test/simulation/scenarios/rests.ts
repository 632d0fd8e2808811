import { atRandom, exponential } from '../load.ts'
import type { ModelFault } from '../model-upstream.ts'
import { atLeast, atMost, type Finding, none, type Scenario } from '../scenario.ts'
import { Shares } from '../shares.ts'
import { World } from '../world.ts'

const SECOND = 1000
const GAP_MS = 250
/** Parts of the whole. The smallest share that is looked at, three in ten, is known to half a percent after 93,000 calls. */
const PARTS = { before: 0.29, during: 0.13, after: 0.29, soft: 0.29 }

/** An account rests for long by its vendor's word, and then shortly, again and again, because its upstream is overloaded. */
export const rests: Scenario = {
  name: 'rests: the others share what a resting account leaves, and it is back at once',
  calls: 320_000,
  async play(seed, calls) {
    const model = { fault: (): ModelFault | null => null }
    await using world = await World.open({
      seed,
      accounts: (random) => {
        const serviceMs = () => exponential(random, 5 * SECOND)
        return [
          { id: 'a', weight: 200, serviceMs, headMs: () => 300, fault: () => model.fault() },
          { id: 'b', weight: 150, serviceMs },
          { id: 'c', weight: 150, serviceMs },
        ]
      },
      users: [{ id: 'user' }],
    })
    const { time, random } = world
    const caller = world.caller('user/0')
    const findings: Finding[] = []
    const restUntilMs = () => world.gateway.directory.account('a')?.account.rest?.untilMs ?? 0
    let resting = 0

    const count = async (name: string, part: number): Promise<void> => {
      const counted = new Shares(world)
      await time.during(
        atRandom(time, random, { calls: Math.round(calls * part), gapMs: () => GAP_MS }, async () => {
          if (restUntilMs() > time.clock()) resting++
          const wentTo = counted.arrives()
          const { record } = await world.call(caller)
          wentTo(record?.attempts[0]?.accountId ?? 'nobody')
        }),
      )
      findings.push(...counted.findings(name))
    }

    await count('before', PARTS.before)

    // Its window is used up, and opens again when twice as much time has passed as the calls that are counted take.
    const windowOpensMs = time.clock() + calls * PARTS.during * GAP_MS * 2
    model.fault = () => (time.clock() < windowOpensMs ? usedUpUntil(windowOpensMs) : null)
    while (restUntilMs() === 0) await time.during(world.call(caller))
    await count('while it rests', PARTS.during)
    await time.during(time.sleep(restUntilMs() - time.clock()))
    let elsewhere = 0
    while ((await time.during(world.call(caller))).accountId !== 'a') elsewhere++
    findings.push(atMost('calls from the end of its rest to the first that it gets', elsewhere, 20))
    await count('after its rest', PARTS.after)

    model.fault = () => (random() < 0.02 ? OVERLOADED : null)
    resting = 0
    await count('while it rests softly now and then', PARTS.soft)
    findings.push(atLeast('calls during soft rests', resting, 1000))
    findings.push(none('nothing is left', await world.close(), `${world.calls} calls`))
    return { calls: world.calls, findings }
  },
}

const OVERLOADED: ModelFault = { kind: 'error', status: 529, type: 'overloaded_error' }

function usedUpUntil(resetAtMs: number): ModelFault {
  const reset = String(Math.ceil(resetAtMs / 1000))
  const headers = {
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-ratelimit-unified-reset': reset,
    'anthropic-ratelimit-unified-5h-status': 'rejected',
    'anthropic-ratelimit-unified-5h-utilization': '1',
    'anthropic-ratelimit-unified-5h-reset': reset,
  }
  return { kind: 'error', status: 429, type: 'rate_limit_error', headers }
}

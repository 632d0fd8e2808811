import type { Caller } from '../../../src/gateway/directory.ts'
import { Homes } from '../homes.ts'
import { Lines } from '../lines.ts'
import { atRandom, between, exponential } from '../load.ts'
import type { ModelFault } from '../model-upstream.ts'
import { none, type Scenario } from '../scenario.ts'
import { World } from '../world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

const SLOTS = [2, 2, 3, 4, 6]
const USERS = 12
/** Conversations that are under way at a time. */
const OPEN = 120

interface Conversation {
  name: string
  caller: Caller
  /** That are to come. */
  turns: number
  /** Its user is away. */
  quietUntilMs: number
}

/**
 * Conversations of many turns over many hours, some of them silent for longer than a binding lasts, on accounts with few
 * slots that fail, rest, are paused and come back.
 */
export const sessions: Scenario = {
  name: 'sessions: conversations stay at their accounts',
  calls: 200_000,
  async play(seed, calls) {
    await using world = await World.open({
      seed,
      accounts: (random) =>
        SLOTS.map((concurrency, index) => ({
          ...{ id: `account-${index}`, concurrency, weight: 100 + 50 * index },
          headMs: () => between(random, 100, 900),
          serviceMs: () => exponential(random, 6 * SECOND),
          fault: () => faultOf(random),
        })),
      users: Array.from({ length: USERS }, (_, index) => ({
        ...{ id: `user-${index}`, concurrency: 4 + (index % 5) },
        keys: index % 3 === 0 ? [null, 2] : [null],
      })),
    })
    const { random, time } = world
    const homes = new Homes(world)
    const lines = world.watch(new Lines(world, homes))
    world.watch(homes)
    const callers = [...world.callers.values()]
    let begun = 0
    const begin = (): Conversation => ({
      name: `conversation-${++begun}`,
      caller: callers[between(random, 0, callers.length - 1)] as Caller,
      turns: between(random, 1, 40),
      quietUntilMs: 0,
    })
    const open = Array.from({ length: OPEN }, begin)
    const turn = async () => {
      const place = between(random, 0, OPEN - 1)
      const conversation = open[place] as Conversation
      if (conversation.quietUntilMs > time.clock()) return
      if (--conversation.turns <= 0) open[place] = begin()
      else if (random() < 0.01) conversation.quietUntilMs = time.clock() + between(random, 40 * MINUTE, 90 * MINUTE)
      const leaves = random() < 0.03 ? { leavesAfterMs: between(random, 0, 20 * SECOND) } : {}
      const { callId, record } = await world.call(conversation.caller, { conversation: conversation.name, ...leaves })
      homes.judge(callId, record)
    }
    const leaveAlone = meddle(world)
    await time.during(atRandom(time, random, { calls, gapMs: () => 900 }, turn))
    leaveAlone()
    const left = await world.close()
    return {
      calls: world.calls,
      findings: [
        ...homes.findings(),
        ...lines.findings({ hasRoomForAll: false }),
        none('nothing is left', left, `${world.calls} calls`),
      ],
    }
  },
}

/** One call in sixty fails, in all the ways that make an account rest, and in some that do not. */
function faultOf(random: () => number): ModelFault | null {
  if (random() > 1 / 60) return null
  const error = (status: number, type: string, headers = {}) => ({ kind: 'error' as const, status, type, headers })
  const faults: ModelFault[] = [
    error(429, 'rate_limit_error', { 'retry-after': String(between(random, 1, 300)) }),
    error(429, 'rate_limit_error'),
    error(529, 'overloaded_error'),
    error(529, 'overloaded_error'),
    error(500, 'api_error'),
    error(401, 'authentication_error'),
    error(400, 'invalid_request_error'),
    { kind: 'unreachable' },
  ]
  return faults[between(random, 0, faults.length - 1)] as ModelFault
}

/** What an operator does, until it is told to stop: pauses an account for a while, again and again. */
function meddle({ store, time, random }: World): () => void {
  let cancel = () => {}
  const pause = () => {
    const id = `account-${between(random, 0, SLOTS.length - 1)}`
    store.setAccount(id, { status: 'paused' })
    cancel = time.setTimer(between(random, MINUTE, 10 * MINUTE), () => resume(id))
  }
  const resume = (id: string) => {
    store.setAccount(id, { status: 'active' })
    cancel = time.setTimer(exponential(random, 20 * MINUTE), pause)
  }
  pause()
  return () => cancel()
}

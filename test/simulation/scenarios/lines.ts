import { Homes } from '../homes.ts'
import { Lines } from '../lines.ts'
import { atRandom, between } from '../load.ts'
import type { AccountPlan } from '../model-store.ts'
import { atLeast, atMost, type Finding, none, type Scenario, under } from '../scenario.ts'
import { type CallPlan, World } from '../world.ts'

const SECOND = 1000
const USERS = 10

/** Who waits, and for how long: nobody starves, and nobody is in the way of another. */
export const lines: Scenario = {
  name: 'lines: nobody starves, and nobody holds up another',
  calls: 120_000,
  async play(seed, calls) {
    const crowdCalls = Math.round(calls / 2)
    const others = Math.round(calls / 4)
    const findings = [
      ...under('a crowd', await crowd(seed, crowdCalls)),
      ...under('passed by its own', await passedByOnesOwn(seed + 10, others)),
      ...under('beside a full line', await besideAFullLine(seed + 20, others)),
    ]
    return { calls: crowdCalls + 2 * others, findings }
  },
}

/** A world with somebody who counts who waits for what. */
async function open(
  seed: number,
  plan: Omit<Parameters<typeof World.open>[0], 'seed'>,
): Promise<{ world: World; counted: Lines }> {
  const world = await World.open({ seed, ...plan })
  const homes = new Homes(world)
  const counted = world.watch(new Lines(world, homes))
  world.watch(homes)
  return { world, counted }
}

/** Accounts with one slot or two, users and keys with few, conversations, clients that leave: busy, and yet room for all. */
async function crowd(seed: number, calls: number): Promise<Finding[]> {
  const { world, counted } = await open(seed, {
    accounts: (random) =>
      [1, 1, 1, 2, 2].map((concurrency, index) => ({
        ...{ id: `account-${index}`, concurrency, weight: 100 * concurrency },
        serviceMs: () => between(random, 200, 1800),
      })),
    users: Array.from({ length: USERS }, (_, index) => ({
      ...{ id: `user-${index}`, concurrency: 1 + (index % 4) },
      keys: index % 2 === 0 ? [null] : [null, 1],
    })),
  })
  const { random, time } = world
  const callers = [...world.callers.values()]
  await time.during(
    atRandom(time, random, { calls, gapMs: () => 190 }, () => {
      const caller = callers[between(random, 0, callers.length - 1)] as (typeof callers)[number]
      const plan: CallPlan = {}
      if (random() < 0.3) plan.conversation = `conversation-${between(random, 0, 5)}`
      if (random() < 0.02) plan.leavesAfterMs = between(random, 0, 3 * SECOND)
      return world.call(caller, plan)
    }),
  )
  return [...counted.findings({ hasRoomForAll: true }), none('nothing is left', await world.close(), `${calls} calls`)]
}

/**
 * One user's conversation is at home at an account with one slot, which four other users want all the time, and the same
 * user's newer calls take all its own slots at another account, again and again.
 */
async function passedByOnesOwn(seed: number, calls: number): Promise<Finding[]> {
  const [slotMs, fastMs] = [SECOND, 300]
  const rivals = ['rival-0', 'rival-1', 'rival-2', 'rival-3']
  const accounts = (random: () => number): AccountPlan[] => [
    { id: 'narrow', concurrency: 1, weight: 1, serviceMs: () => between(random, slotMs / 2, slotMs) },
    { id: 'wide', concurrency: 10, serviceMs: () => between(random, fastMs / 3, fastMs) },
  ]
  const { world, counted } = await open(seed, {
    ...{ accounts, config: { stickyLine: 20 } },
    users: [{ id: 'patient', concurrency: 2 }, ...rivals.map((id) => ({ id, concurrency: 1 }))],
  })
  const { time } = world
  const callOf = (user: string) => world.call(world.caller(`${user}/0`), { conversation: `of ${user}` })
  // Their homes are where there is nobody else.
  world.store.setAccount('wide', { status: 'paused' })
  for (const user of ['patient', ...rivals]) await time.during(callOf(user))
  world.store.setAccount('wide', { status: 'active' })
  let longestMs = 0
  let waited = 0
  let isOver = false
  const untilOver = async (call: () => Promise<unknown>) => {
    while (!isOver) await call()
  }
  const patience = async () => {
    while (world.calls < calls) {
      const { record } = await callOf('patient')
      longestMs = Math.max(longestMs, record?.waitMs ?? Number.POSITIVE_INFINITY)
      if (record && record.waitMs > 0) waited++
    }
    isOver = true
  }
  await time.during(
    Promise.all([
      patience(),
      ...rivals.map((rival) => untilOver(() => callOf(rival))),
      ...[1, 2, 3].map(() => untilOver(() => world.call(world.caller('patient/0')))),
    ]),
  )
  // Eight pass it, two at a time; then the next slot of its user is kept for it, and each other user is served once before it.
  const boundMs = (8 / 2 + 1) * fastMs + (rivals.length + 1) * slotMs
  return [
    ...counted.findings({ hasRoomForAll: true }),
    atLeast('calls of a conversation that waited while newer ones of its user went elsewhere', waited, 100),
    atMost('the longest of these waits, in ms', longestMs, boundMs),
    none('nothing is left', await world.close(), `${world.calls} calls`),
  ]
}

/** One user has far more calls than slots, and conversations at all accounts; another calls now and then. */
async function besideAFullLine(seed: number, calls: number): Promise<Finding[]> {
  const slots = new Map([0, 1, 2, 3].map((index) => [`account-${index}`, 1]))
  const { world, counted } = await open(seed, {
    accounts: (random) =>
      Array.from(slots, ([id, concurrency]) => ({
        id,
        concurrency,
        serviceMs: () => between(random, 500, 1500),
      })),
    users: [
      { id: 'loud', concurrency: 3 },
      { id: 'quiet', concurrency: 2 },
    ],
    config: { lineExtra: 10 },
  })
  const { time, random, upstream } = world
  const heldUp: string[] = []
  let judged = 0
  /** Its calls that run or wait. */
  let quiet = 0
  let refused = 0
  let isOver = false
  const shout = async (client: number) => {
    while (!isOver) {
      const plan = client % 2 === 0 ? {} : { conversation: `of client ${client}` }
      const { record } = await world.call(world.caller('loud/0'), plan)
      if (record) continue
      refused++
      await time.sleep(SECOND)
    }
  }
  const speak = async () => {
    await atRandom(time, random, { calls: Math.round(calls / 20), gapMs: () => 2 * SECOND }, async () => {
      const isIdle = quiet < 2 && [...slots].some(([id, limit]) => upstream.runningAt(id) < limit)
      quiet++
      const { callId, record } = await world.call(world.caller('quiet/0'))
      quiet--
      if (!isIdle) return
      judged++
      if (record?.waitMs !== 0) heldUp.push(callId)
    })
    isOver = true
  }
  await time.during(Promise.all([speak(), ...Array.from({ length: 20 }, (_, client) => shout(client))]))
  return [
    ...counted.findings({ hasRoomForAll: false }),
    atLeast('calls of the loud user that were refused because its line was full', refused, 1000),
    none('no call of the quiet user waits while an account is idle', heldUp, `${judged} that came while one was`),
    none('nothing is left', await world.close(), `${world.calls} calls`),
  ]
}

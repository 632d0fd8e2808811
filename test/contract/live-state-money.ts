import type { Test } from 'tap'
import type { StoredStanding } from '../../src/live/live-state.ts'
import { accounts, type LiveStateMaker, openWorld, type World } from './live-state-support.ts'

const CALLER = { userId: 'u', keyId: 'u-key' }
const NOTHING_YET: StoredStanding = { balanceNanoUsd: 0, keySpentNanoUsd: 0, recordedCallIds: [] }

/** Tells live state what the store would. */
function learn({ live }: World, stored: Partial<StoredStanding>, caller = CALLER): Promise<void> {
  return live.learn(caller, async () => ({ ...NOTHING_YET, ...stored }))
}

/** A look into the store that has not been answered yet. */
async function slowLook(world: World, caller = CALLER) {
  const answer = Promise.withResolvers<StoredStanding>()
  const asked = Promise.withResolvers<string[]>()
  const learnt = world.live.learn(caller, (callIds) => {
    asked.resolve(callIds)
    return answer.promise
  })
  return { callIds: await asked.promise, answer, learnt }
}

/** The balance, as refusals tell it: what is left when all of it is reserved. */
async function balanceOf(world: World, userId = 'u'): Promise<number> {
  const probe = await world.run({ userId, keyId: 'probe', candidates: accounts('probe') })
  world.raise(probe, { reservedNanoUsd: Number.MAX_SAFE_INTEGER })
  const refusal = await world.refuse({ userId, keyId: 'probe', needsBalance: true, candidates: accounts('probe') })
  await world.end(probe)
  return refusal.limit
}

/** What the key has spent, as refusals tell it. */
async function spentOf(world: World, keyId = 'u-key'): Promise<number> {
  return (await world.refuse({ keyId, quotaNanoUsd: Number.MIN_SAFE_INTEGER })).used
}

export async function moneyContract(t: Test, maker: LiveStateMaker): Promise<void> {
  t.test('a balance or quota that matters has to be known', async (t) => {
    await using world = await openWorld(maker)
    const { live } = world
    t.same(await live.admit(world.request({ needsBalance: true })), { kind: 'unknown' })
    t.same(await live.admit(world.request({ quotaNanoUsd: 5 })), { kind: 'unknown' })
    await world.run()
    await learn(world, { balanceNanoUsd: 1 })
    await world.run({ needsBalance: true, quotaNanoUsd: 5 })
    t.same(await live.admit(world.request({ keyId: 'second', quotaNanoUsd: 5 })), { kind: 'unknown' })
    t.same(await live.admit(world.request({ userId: 'v', needsBalance: true })), { kind: 'unknown' })
  })

  t.test('what a key has spent can be asked for once it is known', async (t) => {
    await using world = await openWorld(maker)
    t.equal(await world.live.spentBy('u-key'), null)
    await learn(world, { keySpentNanoUsd: 7 })
    const call = await world.run()
    await world.end(call, { spentNanoUsd: 3 })
    t.equal(await world.live.spentBy('u-key'), 10)
    t.equal(await world.live.spentBy('another'), null)
  })

  t.test(
    'anybody’s balance can be forgotten, also while it is being learnt; what keys have spent is not',
    async (t) => {
      await using world = await openWorld(maker)
      const { live } = world
      await learn(world, { balanceNanoUsd: 100, keySpentNanoUsd: 7 })
      let looks = 0
      await live.learn({ userId: 'v', keyId: 'v-key' }, async () => {
        if (++looks === 1) await live.forget(null)
        return NOTHING_YET
      })
      t.equal(looks, 2)
      t.same(await live.admit(world.request({ needsBalance: true })), { kind: 'unknown' })
      t.equal(await live.spentBy('u-key'), 7)
      await learn(world, { balanceNanoUsd: 50 })
      t.equal(await balanceOf(world), 50)
    },
  )

  t.test('a used-up balance or quota is refused, and says what there was', async (t) => {
    await using world = await openWorld(maker)
    const spent = { reason: 'spent', retryAfterMs: null }
    await learn(world, { balanceNanoUsd: 0, keySpentNanoUsd: 7 })
    t.same(await world.refuse({ needsBalance: true }), {
      ...spent,
      subject: 'user',
      subjectId: 'u',
      metric: 'balance',
      limit: 0,
      used: 0,
    })
    t.same(await world.refuse({ quotaNanoUsd: 7 }), {
      ...spent,
      subject: 'key',
      subjectId: 'u-key',
      metric: 'quota',
      limit: 7,
      used: 7,
    })
    t.same(await world.refuse({ quotaNanoUsd: 0 }), { ...(await world.refuse({ quotaNanoUsd: 7 })), limit: 0 })
    await world.run({ quotaNanoUsd: 8 })
  })

  t.test('what running calls reserve counts as spent until they settle', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100 })
    const call = { needsBalance: true, reservedNanoUsd: 60 }
    const first = await world.run(call)
    const second = await world.run(call)
    t.match(await world.refuse(call), { metric: 'balance', limit: 100, used: 120 })
    await world.end(second, { debitNanoUsd: 10 })
    const third = await world.run({ ...call, reservedNanoUsd: 0 })
    world.raise(first, { reservedNanoUsd: 90 })
    world.raise(first, { reservedNanoUsd: 30 })
    t.match(await world.refuse(call), { limit: 90, used: 90 }, 'a reservation only grows')
    await world.end(first, { debitNanoUsd: 89 })
    world.raise(first, { reservedNanoUsd: 1000 })
    await world.run({ ...call, reservedNanoUsd: 0 })
    await world.end(third, { debitNanoUsd: 1 })
    t.match(await world.refuse(call), { limit: 0, used: 0 })
  })

  t.test('settle debits once', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100, keySpentNanoUsd: 5 })
    const call = await world.run({ needsBalance: true })
    await world.end(call, { debitNanoUsd: 30, spentNanoUsd: 40 })
    await world.end(call, { debitNanoUsd: 30, spentNanoUsd: 40 })
    t.same([await balanceOf(world), await spentOf(world)], [70, 45])
  })

  t.test('a ticket whose caller’s money runs out while it waits is refused when its turn comes', async (t) => {
    for (const call of [{ needsBalance: true }, { quotaNanoUsd: 100 }]) {
      await using world = await openWorld(maker)
      await learn(world, { balanceNanoUsd: 100 })
      const running = await world.run({ ...call, userConcurrency: 1 })
      const waiting = await world.wait({ ...call, userConcurrency: 1 })
      const alsoWaiting = await world.wait({ ...call, userConcurrency: 1 })
      const free = await world.wait({ userConcurrency: 1 })
      await world.end(running, { debitNanoUsd: 101, spentNanoUsd: 101 })
      t.match(await waiting.outcome, { kind: 'refused', refusal: { reason: 'spent' } })
      t.match(await alsoWaiting.outcome, { kind: 'refused', refusal: { reason: 'spent' } })
      t.match(await free.outcome, { kind: 'admission' }, 'the slot goes to the next')
    }
  })

  t.test('a slot that a ticket without money refuses goes to another user', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100 })
    const running = await world.run({ needsBalance: true, candidates: accounts('A:1') })
    const broke = await world.wait({ needsBalance: true, candidates: accounts('A:1') })
    const other = await world.wait({ userId: 'v', candidates: accounts('A:1') })
    await world.end(running, { debitNanoUsd: 100 })
    t.match(await broke.outcome, { refusal: { metric: 'balance' } })
    t.match(await other.outcome, { kind: 'admission', accountId: 'A' })
  })

  t.test('a forgotten balance has to be learnt again; tickets in line keep their place', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100, keySpentNanoUsd: 5 })
    const running = await world.run({ needsBalance: true, userConcurrency: 1, reservedNanoUsd: 40 })
    const waiting = await world.wait({ needsBalance: true, userConcurrency: 1 })
    await world.live.forget('u')
    t.same(await world.live.admit(world.request({ needsBalance: true })), { kind: 'unknown' })
    await world.end(running, { debitNanoUsd: 30 })
    t.match(await waiting.outcome, { kind: 'admission' })
    await learn(world, { balanceNanoUsd: 1070, keySpentNanoUsd: 4711 })
    t.same([await balanceOf(world), await spentOf(world)], [1070, 5], 'what was known of the key stays')
  })

  t.test('what is known has moved since the store was asked, and stays', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100 })
    await world.end(await world.run({ needsBalance: true }), { debitNanoUsd: 30, spentNanoUsd: 30 })
    await learn(world, { balanceNanoUsd: 100 })
    t.same([await balanceOf(world), await spentOf(world)], [70, 30])
  })

  t.test('a look into the store is told whose charges may still come: running calls and tickets', async (t) => {
    await using world = await openWorld(maker)
    const running = await world.run({ userConcurrency: 1 })
    const { ticket } = await world.wait({ userConcurrency: 1 })
    await world.run({ userId: 'v' })
    await world.end(await world.run({ userId: 'u', userConcurrency: null }))
    const look = await slowLook(world)
    t.same(look.callIds, [running.callId, ticket.callId])
    look.answer.resolve(NOTHING_YET)
    await look.learnt
  })

  t.test('a call whose charge was in the balance already is not debited again', async (t) => {
    await using world = await openWorld(maker)
    const call = await world.run()
    const other = await world.run()
    const look = await slowLook(world)
    look.answer.resolve({ balanceNanoUsd: 70, keySpentNanoUsd: 30, recordedCallIds: [call.callId] })
    await look.learnt
    await world.end(call, { debitNanoUsd: 30, spentNanoUsd: 30 })
    t.same([await balanceOf(world), await spentOf(world)], [70, 30])
    await world.end(other, { debitNanoUsd: 5, spentNanoUsd: 5 })
    t.same([await balanceOf(world), await spentOf(world)], [65, 35])
  })

  t.test('what one key’s look knows of a call says nothing of another key’s spending', async (t) => {
    await using world = await openWorld(maker)
    await learn(world, { balanceNanoUsd: 100 })
    const call = await world.run()
    await world.live.forget('u')
    const second = { userId: 'u', keyId: 'second' }
    await learn(world, { balanceNanoUsd: 70, recordedCallIds: [call.callId] }, second)
    await world.end(call, { debitNanoUsd: 30, spentNanoUsd: 30 })
    t.same(
      [await balanceOf(world), await spentOf(world), await spentOf(world, 'second')],
      [70, 30, 0],
      'it is in the new balance, and was not in what its own key had spent',
    )
  })

  t.test(
    'a call that settles while the store is asked is counted once, whether the answer knows it or not',
    async (t) => {
      for (const knows of [true, false]) {
        await using world = await openWorld(maker)
        const call = await world.run()
        const otherKey = await world.run({ keyId: 'second' })
        const look = await slowLook(world)
        await world.end(call, { debitNanoUsd: 30, spentNanoUsd: 31 })
        await world.end(otherKey, { debitNanoUsd: 7, spentNanoUsd: 7 })
        const recorded = { balanceNanoUsd: 63, keySpentNanoUsd: 31, recordedCallIds: [call.callId, otherKey.callId] }
        look.answer.resolve(knows ? recorded : { ...NOTHING_YET, balanceNanoUsd: 100 })
        await look.learnt
        t.same([await balanceOf(world), await spentOf(world)], [63, 31])
      }
    },
  )

  t.test('a balance that changes while the store is asked is asked for again', async (t) => {
    await using world = await openWorld(maker)
    const credited = Promise.withResolvers<void>()
    const answers = [0, 500]
    const learnt = world.live.learn(CALLER, async () => {
      const balanceNanoUsd = answers.shift() ?? Number.NaN
      if (balanceNanoUsd === 0) await credited.promise
      return { ...NOTHING_YET, balanceNanoUsd }
    })
    await world.live.forget('u')
    credited.resolve()
    await learnt
    t.equal(await balanceOf(world), 500)
    t.same(answers, [])
  })

  t.test('another user’s balance that changes meanwhile does not matter', async (t) => {
    await using world = await openWorld(maker)
    let looks = 0
    await world.live.learn(CALLER, async () => {
      looks++
      await world.live.forget('other user')
      return NOTHING_YET
    })
    t.equal(looks, 1)
  })

  t.test('however often it changes, the store is asked a limited number of times', async (t) => {
    await using world = await openWorld(maker)
    let looks = 0
    await world.live.learn(CALLER, async () => {
      looks++
      await world.live.forget('u')
      return NOTHING_YET
    })
    t.equal(looks, 5)
    t.same(await world.live.admit(world.request({ needsBalance: true })), { kind: 'unknown' })
  })

  t.test('those who ask at the same time look into the store once', async (t) => {
    await using world = await openWorld(maker)
    const look = await slowLook(world)
    const others = Array.from({ length: 3 }, () =>
      world.live.learn(CALLER, async () => {
        throw new Error('asked again')
      }),
    )
    const otherKey = await slowLook(world, { userId: 'u', keyId: 'second' })
    look.answer.resolve({ ...NOTHING_YET, balanceNanoUsd: 100 })
    await Promise.all([look.learnt, ...others])
    otherKey.answer.resolve({ balanceNanoUsd: 1, keySpentNanoUsd: 9, recordedCallIds: [] })
    await otherKey.learnt
    t.same([await balanceOf(world), await spentOf(world, 'second')], [100, 9])
  })

  t.test('a look that fails tells all who ask, and the next one looks again', async (t) => {
    await using world = await openWorld(maker)
    const look = await slowLook(world)
    const other = world.live.learn(CALLER, async () => NOTHING_YET)
    look.answer.reject(new Error('the store is down'))
    await t.rejects(look.learnt, { message: 'the store is down' })
    await t.rejects(other, { message: 'the store is down' })
    await learn(world, { balanceNanoUsd: 3 })
    t.equal(await balanceOf(world), 3)
  })
}

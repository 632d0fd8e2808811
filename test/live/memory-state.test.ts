import fc from 'fast-check'
import t from 'tap'
import { type Limited, NO_CONSUMPTION } from '../../src/domain/limit.ts'
import type { Admission, AdmitRequest } from '../../src/live/live-state.ts'
import { MemoryLiveState } from '../../src/live/memory.ts'
import { MemoryState } from '../../src/live/memory-state.ts'
import { FakeTime } from '../contract/live-state-support.ts'
import { privateSizes } from '../support/private-sizes.ts'

/** What may stay when all calls have ended: the process itself, and what has a limit of its own and is dropped when that is reached. */
const STAYS = [
  ...['.#members', '.#beats', '.bindings.#bindings', '.minutes.#windows'],
  ...['.standings.#users', '.standings.#keySpent', '.limits.#meters.'],
]

const step = fc.record({
  what: fc.constantFrom(
    'admit',
    'admit',
    'admit',
    'settle',
    'settle',
    'move',
    'abort',
    'raise',
    'rerank',
    'die',
    'pass',
  ),
  user: fc.nat(3),
  which: fc.nat(20),
})

t.test('when all calls have ended, or their processes have, nothing is kept of them', async (t) => {
  let most = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }), async (steps) => {
      const time = new FakeTime()
      const state = new MemoryState(time.clock, time.setTimer)
      await using first = new MemoryLiveState('first', time.clock, time.setTimer, state)
      let second = new MemoryLiveState('second', time.clock, time.setTimer, state)
      const running = new Map<string, Admission>()
      const waiting = new Map<string, AbortController>()
      let calls = 0
      const request = (user: number): AdmitRequest => {
        const limits: Limited[] = [
          {
            subject: 'user',
            id: `u${user}`,
            limits: [5000, 3_600_000].map((ms) => ({ metric: 'tokens', max: 1e6, window: { kind: 'sliding', ms } })),
          },
        ]
        return {
          ...{ callId: `call-${++calls}`, userId: `u${user}`, keyId: `k${user}`, groupId: 'g' },
          ...{ userConcurrency: 2, keyConcurrency: null, lineExtra: 3, deadlineMs: time.nowMs + 5000 },
          candidates: ['A', 'B'].map((accountId) => ({ accountId, model: 'm', concurrency: 1, limits: [] })),
          session: { key: `s${user}`, ttlMs: 1000, waitMs: 500, line: 2 },
          ...{ needsBalance: true, quotaNanoUsd: 1e9, reservedNanoUsd: 3, limits },
          estimate: { ...NO_CONSUMPTION, requests: 1, inputTokens: 5 },
        }
      }
      const hear = (live: MemoryLiveState, callId: string, answer: { kind: string }) => {
        if (answer.kind === 'admission') running.set(callId, answer as Admission)
        if (answer.kind !== 'ticket') return
        const giveUp = new AbortController()
        waiting.set(callId, giveUp)
        live
          .await(answer as never, giveUp.signal)
          .then((end) => end.kind === 'admission' && running.set(callId, end))
          .catch(() => {})
          .finally(() => waiting.delete(callId))
      }
      const settle = async (admission: Admission) => {
        running.delete(admission.callId)
        const end = { debitNanoUsd: 1, spentNanoUsd: 1, confirmsBinding: true, used: NO_CONSUMPTION }
        await first.settle(admission, end)
      }
      for (const { what, user, which } of steps) {
        const admission = [...running.values()].filter(({ callId }) => !waiting.has(callId)).at(which % 5)
        const live = which % 2 ? first : second
        if (what === 'admit') {
          const asked = request(user)
          await live.learn({ userId: `u${user}`, keyId: `k${user}` }, async (callIds) => {
            const recordedCallIds = callIds.filter((callId, place) => running.has(callId) && (place + which) % 3 > 0)
            return { balanceNanoUsd: 1000, keySpentNanoUsd: 0, recordedCallIds }
          })
          for (const limited of asked.limits) {
            await live.learnUsage(limited, async () => ({ spans: [], recordedCallIds: [] }))
          }
          hear(live, asked.callId, await live.admit(asked))
        } else if (what === 'abort') [...waiting.values()].at(which % 3)?.abort(new Error('aborted'))
        else if (what === 'pass') time.pass(which * 1000)
        else if (what === 'die') {
          await second[Symbol.asyncDispose]()
          second = new MemoryLiveState('second', time.clock, time.setTimer, state)
        } else if (what === 'rerank') {
          const [ticket] = await first.tickets()
          if (ticket) await first.rerank({ kind: 'ticket', ...ticket }, request(user).candidates.slice(which % 2))
        } else if (admission && what === 'settle') await settle(admission)
        else if (admission && what === 'move') {
          hear(first, admission.callId, await first.move(admission, request(user).candidates))
        } else if (admission) first.raise(admission, { reservedNanoUsd: which, estimate: NO_CONSUMPTION })
        await new Promise(setImmediate)
        most = Math.max(most, state.running.size)
      }
      for (const giveUp of waiting.values()) giveUp.abort(new Error('aborted'))
      await new Promise(setImmediate)
      // Those of a process that died are never heard of again.
      for (const admission of running.values()) if (state.running.has(admission.callId)) await settle(admission)
      await second[Symbol.asyncDispose]()
      time.pass(3 * 3_600_000)
      // Each part is looked at where it is a part of the state itself, not again where others know it.
      const left = Object.keys(privateSizes(state)).filter((path) => !/^\.(allowances|vacancies|serving)\./.test(path))
      const leaks = left.filter((path) => !STAYS.some((stays) => path.startsWith(stays)))
      if (leaks.length > 0) throw new Error(`left: ${leaks.join(', ')}`)
      if (time.timers !== 1) throw new Error(`${time.timers} timers, where one heart beats`)
    }),
    { seed: 20261127, numRuns: 100 },
  )
  t.ok(most >= 2, `${most} calls ran at a time`)
})

import type { Test } from 'tap'
import type { CallRecord } from '../../src/domain/call.ts'
import { NO_USAGE, type Usage } from '../../src/domain/usage.ts'
import { newCallId } from '../../src/lib/id.ts'
import { HISTOGRAM_BUCKETS } from '../../src/store/histogram.ts'
import { REPORT_DIMENSIONS, type ReportRow, type Store, type StoredCall } from '../../src/store/store.ts'
import {
  addScene,
  callOf,
  freeCallOf,
  type Scene,
  START_MS,
  until,
  type World,
  type WorldMaker,
} from '../support/store.ts'

const by = 'cli:alice'
const QUARTER_MS = 900_000
/** More than SQLite (32,766) and PostgreSQL (65,535) take as parameters of one statement. */
const MANY = 66_000

/** Records, money, roll-ups, lists, the start journal, pruning. */
export async function usageContract(t: Test, worlds: WorldMaker): Promise<void> {
  const test = (name: string, body: (t: Test, store: Store, world: World) => Promise<void>) =>
    t.test(name, async (t) => {
      await using world = await worlds.make()
      await body(t, await world.open(), world)
    })

  await test('a call comes back as it was recorded', async (t, store) => {
    const scene = await addScene(store, 1_000_000)
    const big = 2 ** 40 + 1
    const usage: Usage = {
      inputTokens: big,
      cacheWrite5mTokens: big + 1,
      cacheWrite1hTokens: big + 2,
      cacheReadTokens: big + 3,
      outputTokens: big + 4,
      reasoningTokens: big + 5,
      webSearchRequests: big + 6,
    }
    const attempt = {
      accountId: scene.accountId,
      startedMs: 0,
      endedMs: 1,
      status: null,
      fault: 'reset',
      message: '"ü\n',
      lost: { usage: { inputTokens: big, outputTokens: 1 }, costNanoUsd: Number.MAX_SAFE_INTEGER },
    }
    const full = callOf(scene, {
      usage,
      costNanoUsd: Number.MAX_SAFE_INTEGER,
      chargedNanoUsd: 1,
      lostNanoUsd: Number.MAX_SAFE_INTEGER,
      multiplierMicro: 2 ** 33,
      durationMs: big,
      firstTokenMs: big,
      seenLimits: [
        {
          ...{ subject: 'key', subjectId: scene.keyId, used: big },
          limit: { metric: 'usd', max: 5, window: { kind: 'calendar', unit: 'day', timeZone: 'Europe/Berlin' } },
        },
      ],
      choice: {
        fallbackGroupId: 'grp_other',
        candidates: [scene.accountId, 'acc_other'],
        others: [{ accountId: 'acc_resting', why: 'rests (rate_limit) for 5 s' }],
        waited: true,
        session: {
          conversation: 'ünï',
          source: 'first words',
          binding: 'detour',
          from: { accountId: 'acc_x', why: 'ünï' },
        },
      },
      attempts: [attempt, { ...attempt, status: 529, message: null, lost: null }],
      userAgent: 'ünï "quoted" 😀',
      estimated: true,
      error: 'upstream_cut',
      outcome: 'upstream_cut',
      priceState: 'partly_unknown',
    })
    const bare = freeCallOf(scene, {
      reportedModel: null,
      error: null,
      stopReason: null,
      firstTokenMs: null,
      upstreamRequestId: null,
      userAgent: null,
      attempts: [],
      stream: false,
    })
    for (const call of [full, bare]) {
      t.equal(await store.usage.record(call, false), 'committed')
      t.same(await store.usage.show(call.id), stored(call))
    }
    await t.rejects(store.usage.show('call_none'), { code: 'not_found', message: "there is no call 'call_none'" })
  })

  await test("what clients and upstreams put into a call's texts never makes it unstorable", async (t, store) => {
    const scene = await addScene(store)
    const odd = 'a\u0000b\ud800c\n'
    const call = freeCallOf(scene, {
      requestedModel: odd,
      upstreamModel: odd,
      reportedModel: odd,
      error: odd,
      stopReason: odd,
      upstreamRequestId: odd,
      clientIp: odd,
      userAgent: odd,
      choice: {
        fallbackGroupId: null,
        candidates: [odd],
        others: [{ accountId: odd, why: odd }],
        waited: false,
        session: { conversation: odd, source: 'metadata.user_id', binding: 'new', from: null },
      },
      attempts: [
        { accountId: scene.accountId, startedMs: 0, endedMs: 1, status: 1, fault: odd, message: odd, lost: null },
      ],
    })
    t.equal(await store.usage.record(call, false), 'committed')
    t.match((await store.usage.show(call.id)).requestedModel, /^a.?b.c\n$/su)
    t.same((await store.usage.verify()).problems, [])
  })

  await test('a call is charged once, however often it is recorded', async (t, store, world) => {
    const scene = await addScene(store, 10_000)
    const other = await world.open()
    const call = callOf(scene, { chargedNanoUsd: 3000 })
    const free = freeCallOf(scene, { costNanoUsd: 7 })
    const both = [call, free]
    await Promise.all([...both, ...both].map((one) => store.usage.record(one, true))) // in one batch
    await Promise.all([store, other, store, other].flatMap((s) => both.map((one) => s.usage.record(one, false))))
    for (const one of both) t.equal(await other.usage.record(one, false), 'committed')
    t.equal((await store.users.find(scene.userId)).balanceNanoUsd, 7000)
    t.equal((await store.ledger.list({ userId: scene.userId, limit: 9 })).length, 2)
    const [total] = await store.usage.report({ filter: {}, by: 'user' })
    t.match(total, { requests: 2, costNanoUsd: 3007, chargedNanoUsd: 3000 })
    t.same(await store.usage.verify(), { problems: [], users: 1, calls: 2, ledgerEntries: 2 })
  })

  await test('calls of many users in parallel, from two processes', async (t, store, world) => {
    const other = await world.open()
    const scenes = await Promise.all(Array.from({ length: 7 }, () => addScene(store, 1_000_000_000)))
    const calls = Array.from({ length: 700 }, (_, n) =>
      callOf(scenes[n % 7] as Scene, {
        atMs: START_MS + (n % 3) * QUARTER_MS,
        upstreamModel: `model-${n % 2}`,
        chargedNanoUsd: n % 5 === 0 ? 0 : n,
        costNanoUsd: n * 2,
      }),
    )
    const hows = await Promise.all(calls.map((call, n) => (n % 2 ? store : other).usage.record(call, false)))
    t.same(new Set(hows), new Set(['committed']))
    const spent = scenes.map((scene) =>
      sumOf(
        calls.filter((call) => call.userId === scene.userId),
        'chargedNanoUsd',
      ),
    )
    const balances = await Promise.all(
      scenes.map(async ({ userId }) => (await store.users.find(userId)).balanceNanoUsd),
    )
    t.same(
      balances,
      spent.map((amount) => 1_000_000_000 - amount),
    )
    const verified = await store.usage.verify()
    t.same(verified, {
      problems: [],
      users: 7,
      calls: 700,
      ledgerEntries: 7 + calls.filter((c) => c.chargedNanoUsd).length,
    })
  })

  await test('a record that cannot be stored fails alone', async (t, store) => {
    const scene = await addScene(store, 1_000_000)
    const calls = Array.from({ length: 20 }, () => callOf(scene))
    const poison = callOf({ ...scene, userId: 'usr_nobody' })
    const outcomes = await Promise.allSettled(
      calls.toSpliced(10, 0, poison).map((call) => store.usage.record(call, false)),
    )
    t.same(
      outcomes.map(({ status }) => status),
      [...Array(10).fill('fulfilled'), 'rejected', ...Array(10).fill('fulfilled')],
    )
    const [failed] = outcomes.filter((outcome) => outcome.status === 'rejected')
    t.match(failed?.reason.message, /charged to a user who does not exist/)
    t.not(failed?.reason.code, 'unavailable', 'the store is not to blame')
    t.equal((await store.users.find(scene.userId)).balanceNanoUsd, 1_000_000 - 20 * 3000)
    t.same(await store.usage.verify(), { problems: [], users: 1, calls: 20, ledgerEntries: 21 })
    t.equal(await store.usage.record(callOf(scene), false), 'committed', 'and the next is stored as ever')
  })

  await test('the ledger has a row for each charge and no other', async (t, store) => {
    const scene = await addScene(store, 10_000)
    const charged = callOf(scene, { atMs: START_MS + 1, chargedNanoUsd: 4000 })
    const beyond = callOf(scene, { atMs: START_MS + 2, chargedNanoUsd: 8000 })
    await Promise.all([charged, beyond].map((call) => store.usage.record(call, false)))
    await store.usage.record(callOf(scene, { chargedNanoUsd: 0 }), false)
    await store.usage.record(freeCallOf(scene), false)
    const charge = (call: CallRecord, balanceAfterNanoUsd: number) => ({
      id: call.id,
      userId: scene.userId,
      atMs: stored(call).endedAtMs,
      kind: 'charge',
      amountNanoUsd: -call.chargedNanoUsd,
      balanceAfterNanoUsd,
      callId: call.id,
      actor: null,
      note: null,
    })
    const entries = await store.ledger.list({ userId: scene.userId, limit: 9 })
    t.same(entries.slice(1), [charge(charged, 6000), charge(beyond, -2000)])
    t.same(await store.ledger.list({ userId: scene.userId, limit: 1, after: charged.id }), entries.slice(2))
  })

  await test('a charge that would take a balance out of range is refused, not rounded', async (t, store) => {
    const scene = await addScene(store, -Number.MAX_SAFE_INTEGER + 5000)
    await store.usage.record(callOf(scene, { chargedNanoUsd: 5000 }), false)
    t.equal((await store.users.find(scene.userId)).balanceNanoUsd, -Number.MAX_SAFE_INTEGER)
    await t.rejects(store.usage.record(callOf(scene, { chargedNanoUsd: 1 }), false))
    const rich = await addScene(store, Number.MAX_SAFE_INTEGER)
    const halves = [2, 1, 2].map((part) => callOf(rich, { chargedNanoUsd: 2 ** 52 - part }))
    const outcomes = await Promise.allSettled(halves.map((call) => store.usage.record(call, false)))
    t.same(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled'],
    )
    const expected = BigInt(Number.MAX_SAFE_INTEGER) - 3n * 2n ** 52n + 5n
    t.equal((await store.users.find(rich.userId)).balanceNanoUsd, Number(expected))
    t.same((await store.usage.verify()).problems, [])
  })

  await test("a standing is a caller's money in one view", async (t, store) => {
    const scene = await addScene(store, 1_000_000)
    const key2 = (await addScene(store)).keyId
    const at = (atMs: number, cost: number, charged: number, keyId = scene.keyId) =>
      callOf({ ...scene, keyId }, { atMs, costNanoUsd: cost, chargedNanoUsd: charged })
    const calls = [at(START_MS, 10, 20), at(START_MS + QUARTER_MS, 100, 200), at(START_MS, 1000, 2000, key2)]
    for (const call of calls) await store.usage.record(call, false)
    const ids = calls.map(({ id }) => id)
    const ask = { userId: scene.userId, keyId: scene.keyId, callIds: [newCallId(0), ...ids] }
    const { recordedCallIds, ...cost } = await store.ledger.standing({ ...ask, spending: 'cost' })
    t.same(recordedCallIds.toSorted(), ids.toSorted())
    t.same(cost, { balanceNanoUsd: 997_780, keySpentNanoUsd: 110 })
    t.equal((await store.ledger.standing({ ...ask, spending: 'charged' })).keySpentNanoUsd, 220)
    await store.usage.prune({ beforeMs: START_MS + QUARTER_MS, by })
    t.equal(
      (await store.ledger.standing({ ...ask, spending: 'charged' })).keySpentNanoUsd,
      220,
      'pruning forgets nothing',
    )
    const fresh = await store.ledger.standing({ ...ask, keyId: 'key_new', spending: 'cost', callIds: [] })
    t.same(fresh, { balanceNanoUsd: 997_780, keySpentNanoUsd: 0, recordedCallIds: [] })
    const many = [...ids, ...Array.from({ length: MANY }, () => newCallId(START_MS))]
    const asked = await store.ledger.standing({ ...ask, spending: 'cost', callIds: many })
    t.same(asked.recordedCallIds, ids.slice(1, 2), 'of any number of calls')
  })

  await test('what somebody has used of late is told by time of admission and by model, in one view', async (t, store) => {
    const [scene, other] = [await addScene(store, 1_000_000), await addScene(store, 1_000_000)]
    const at = (atMs: number, n: number, of = scene) =>
      callOf(of, { atMs, costNanoUsd: n, chargedNanoUsd: 2 * n, usage: usageOf(n), upstreamModel: `model-${n % 2}` })
    const calls = [
      at(START_MS - 1, 1),
      at(START_MS, 2),
      at(START_MS + 1, 3),
      at(START_MS + QUARTER_MS, 4),
      at(START_MS, 5, other),
      at(START_MS + 2, 6, { ...other, groupId: scene.groupId }),
    ]
    for (const call of calls) await store.usage.record(call, false)
    const callIds = [newCallId(0), ...calls.map(({ id }) => id)]
    const sumOf = (some: CallRecord[]) => {
      const sum = (read: (call: CallRecord) => number) => some.reduce((total, call) => total + read(call), 0)
      return {
        requests: some.length,
        inputTokens: sum(({ usage }) => usage.inputTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens),
        cacheReadTokens: sum(({ usage }) => usage.cacheReadTokens),
        outputTokens: sum(({ usage }) => usage.outputTokens),
        costNanoUsd: sum(({ costNanoUsd }) => costNanoUsd),
      }
    }
    const idsOf = { key: 'keyId', user: 'userId', group: 'groupId', account: 'accountId' } as const
    for (const subject of ['key', 'user', 'group', 'account'] as const) {
      const name = idsOf[subject]
      for (const spending of ['cost', 'charged'] as const) {
        const subjects = calls.filter((call) => call[name] === scene[name])
        const spanOf = (fromMs: number, toMs: number, model?: string) => {
          const inIt = subjects.filter(
            ({ atMs, upstreamModel }) => atMs >= fromMs && atMs < toMs && upstreamModel === (model ?? upstreamModel),
          )
          const used = sumOf(inIt)
          const spentNanoUsd = used.costNanoUsd * (spending === 'cost' ? 1 : 2)
          return { fromMs, toMs, ...(model !== undefined && { model }), used: { ...used, spentNanoUsd } }
        }
        const asked = { subject, id: scene[name], fromMs: START_MS + 7, spending, callIds }
        const quarters = await store.usage.consumption({ ...asked, stepMs: QUARTER_MS, byModel: false })
        const [first, second, third] = [START_MS, START_MS + QUARTER_MS, START_MS + 2 * QUARTER_MS] as const
        t.same(quarters.spans, [spanOf(first, second), spanOf(second, third)], `${subject} ${spending}`)
        t.same(quarters.recordedCallIds.toSorted(), calls.map(({ id }) => id).toSorted())
        const hours = { ...asked, fromMs: START_MS - 4 * QUARTER_MS, stepMs: 4 * QUARTER_MS, byModel: true }
        const { spans } = await store.usage.consumption(hours)
        const [before, after] = [START_MS - 4 * QUARTER_MS, START_MS + 4 * QUARTER_MS] as const
        const isThere = ({ used }: { used: { requests: number } }) => used.requests > 0
        t.same(
          spans,
          [
            spanOf(before, START_MS, 'model-1'),
            spanOf(START_MS, after, 'model-0'),
            spanOf(START_MS, after, 'model-1'),
          ].filter(isThere),
          'by hours and models',
        )
      }
    }
    const nobody = {
      subject: 'key' as const,
      id: 'key_none',
      fromMs: 0,
      stepMs: QUARTER_MS,
      byModel: false,
      spending: 'cost' as const,
      callIds: [],
    }
    t.same(await store.usage.consumption(nobody), { spans: [], recordedCallIds: [] })
    await store.usage.prune({ beforeMs: START_MS + QUARTER_MS, by })
    const { spans } = await store.usage.consumption({ ...nobody, id: scene.keyId })
    t.same(
      spans.map(({ used }) => used.requests),
      [1, 2, 1],
      'pruning forgets nothing',
    )
  })

  await test('a report adds up roll-ups by each dimension', async (t, store) => {
    const [a, b] = [await addScene(store, 1_000_000_000), await addScene(store, 1_000_000_000)]
    const calls = Array.from({ length: 60 }, (_, n) =>
      callOf(n % 3 ? a : b, {
        atMs: START_MS - (n % 4) * QUARTER_MS + n,
        upstreamModel: `model-${n % 2}`,
        outcome: (['complete', 'client_left', 'failed', 'interrupted'] as const)[n % 4] ?? 'complete',
        usage: usageOf(n),
        costNanoUsd: n,
        chargedNanoUsd: 2 * n,
        lostNanoUsd: 3 * n,
        estimated: n % 5 === 0,
        priceState: (['known', 'partly_unknown', 'unknown'] as const)[n % 3] ?? 'known',
        firstTokenMs: n % 2 ? 51 : null,
        durationMs: 100 * n,
      }),
    )
    await Promise.all(calls.map((call) => store.usage.record(call, false)))
    const nameOf = {
      user: (call: CallRecord) => call.userId,
      key: (call: CallRecord) => call.keyId,
      account: (call: CallRecord) => call.accountId,
      group: (call: CallRecord) => call.groupId,
      model: (call: CallRecord) => call.upstreamModel,
      provider: (call: CallRecord) => call.provider,
      outcome: (call: CallRecord) => call.outcome,
      period: (call: CallRecord) => String(call.atMs - (call.atMs % QUARTER_MS)),
    }
    for (const dimension of REPORT_DIMENSIONS) {
      const expected = expectedReport(calls, nameOf[dimension])
      t.same(await store.usage.report({ filter: {}, by: dimension }), expected, dimension)
    }
    const filters: [string, object, (call: CallRecord) => boolean][] = [
      ['user', { userId: a.userId }, (call) => call.userId === a.userId],
      ['key', { keyId: b.keyId }, (call) => call.keyId === b.keyId],
      ['group', { groupId: a.groupId }, (call) => call.groupId === a.groupId],
      ['account', { accountId: b.accountId }, (call) => call.accountId === b.accountId],
      ['model', { model: 'model-1' }, (call) => call.upstreamModel === 'model-1'],
      ['from', { fromMs: START_MS }, (call) => call.atMs >= START_MS],
      ['inside a quarter', { fromMs: START_MS + 5 }, (call) => call.atMs >= START_MS],
      ['to', { toMs: START_MS }, (call) => call.atMs < START_MS],
      [
        'between',
        { fromMs: START_MS - QUARTER_MS, toMs: START_MS },
        ({ atMs }) => atMs < START_MS && atMs >= START_MS - QUARTER_MS,
      ],
      [
        'two',
        { userId: a.userId, model: 'model-0' },
        (call) => call.userId === a.userId && call.upstreamModel === 'model-0',
      ],
      ['nobody', { userId: 'usr_nobody' }, () => false],
    ]
    for (const [name, filter, holds] of filters) {
      const expected = expectedReport(calls.filter(holds), nameOf.model)
      t.same(await store.usage.report({ filter, by: 'model' }), expected, `of ${name}`)
    }
  })

  await test('a sum that a number cannot say exactly is an error, never a wrong number', async (t, store) => {
    const scene = await addScene(store)
    const record = (costNanoUsd: number) => store.usage.record(freeCallOf(scene, { costNanoUsd }), false)
    await record(Number.MAX_SAFE_INTEGER - 1)
    await record(1)
    const report = () => store.usage.report({ filter: {}, by: 'user' })
    const standing = () =>
      store.ledger.standing({ userId: scene.userId, keyId: scene.keyId, spending: 'cost', callIds: [] })
    t.equal((await report())[0]?.costNanoUsd, Number.MAX_SAFE_INTEGER)
    t.equal((await standing()).keySpentNanoUsd, Number.MAX_SAFE_INTEGER)
    const together = [record(Number.MAX_SAFE_INTEGER), record(Number.MAX_SAFE_INTEGER), record(2)] // in one batch
    await Promise.all(together)
    await t.rejects(report(), { message: 'a sum of 27021597764222975 is beyond what a number can say' })
    await t.rejects(standing(), { message: 'a sum of 27021597764222975 is beyond what a number can say' })
    t.same((await store.usage.verify()).problems, [])
  })

  await test('calls are listed by filter, in pages', async (t, store) => {
    const [a, b] = [await addScene(store), await addScene(store)]
    // Admitted in this order, but each arrived before the one in front of it.
    const calls = Array.from({ length: 24 }, (_, n) =>
      freeCallOf(n % 3 ? a : b, { atMs: START_MS + n * 1000, waitMs: n * 2000, upstreamModel: `model-${n % 2}` }),
    )
    await Promise.all(calls.map((call) => store.usage.record(call, false)))
    const byId = calls.toSorted((x, y) => (x.id < y.id ? -1 : 1)).map(stored)
    t.same(await store.usage.list({ limit: 100 }), byId)
    t.same(await store.usage.list({ limit: 5, after: byId[4]?.id }), byId.slice(5, 10))
    const filters: [object, (call: CallRecord) => boolean][] = [
      [{ userId: a.userId }, (call) => call.userId === a.userId],
      [{ keyId: b.keyId }, (call) => call.keyId === b.keyId],
      [{ groupId: b.groupId }, (call) => call.groupId === b.groupId],
      [{ accountId: a.accountId }, (call) => call.accountId === a.accountId],
      [{ model: 'model-1' }, (call) => call.upstreamModel === 'model-1'],
      [{ fromMs: START_MS + 7000 }, (call) => call.atMs >= START_MS + 7000],
      [{ toMs: START_MS + 7000 }, (call) => call.atMs < START_MS + 7000],
      [{ fromMs: 0, toMs: START_MS + 1 }, (call) => call.atMs === START_MS],
      [{ userId: a.userId, model: 'model-0' }, (call) => call.userId === a.userId && call.upstreamModel === 'model-0'],
    ]
    for (const [filter, holds] of filters) {
      t.same(await store.usage.list({ ...filter, limit: 100 }), byId.filter(holds), JSON.stringify(filter))
      const lastByEnd = byId.filter(holds).toSorted(byEnd).slice(-3)
      t.same(await store.usage.tail({ ...filter, last: 3 }), lastByEnd, `tail ${JSON.stringify(filter)}`)
    }
  })

  await test('the tail follows the ends of calls', async (t, store) => {
    const scene = await addScene(store)
    const calls = Array.from({ length: 9 }, (_, n) =>
      freeCallOf(scene, { atMs: START_MS + n, waitMs: 0, durationMs: [500, 90, 400, 300, 299, 298, 10, 9, 8][n] ?? 0 }),
    )
    await Promise.all(calls.map((call) => store.usage.record(call, false)))
    const inOrder = calls.map(stored).toSorted(byEnd)
    t.same(await store.usage.tail({ last: 100 }), inOrder)
    t.same(await store.usage.tail({ last: 2 }), inOrder.slice(-2))
    for (const [index, call] of inOrder.entries()) {
      const rest = await store.usage.tail({ after: { endedAtMs: call.endedAtMs, id: call.id }, limit: 100 })
      t.same(rest, inOrder.slice(index + 1), `after ${index}`)
    }
    t.same(await store.usage.tail({ after: { endedAtMs: 0, id: '' }, limit: 2 }), inOrder.slice(0, 2))
  })

  await test('what a dead process left running is closed at the next start', async (t, store, world) => {
    const scene = await addScene(store, 1_000_000)
    const running = await journaled(store, world, [callOf(scene), callOf(scene)].map(interrupted))
    const [finished, lost] = running as [CallRecord, CallRecord]
    const done = { ...finished, outcome: 'complete' as const, chargedNanoUsd: 5 }
    await store.usage.record(done, true)
    const next = await world.open()
    const mine = await journaled(next, world, [interrupted(callOf(scene, { atMs: START_MS + 1 }))])
    t.same(await next.usage.closeInterrupted({ processId: 'prs_nobody' }), [])
    const dead = await world.database
      .selectFrom('running_calls')
      .select('process_id')
      .where('id', '=', lost.id)
      .executeTakeFirstOrThrow()
    t.same(await next.usage.closeInterrupted({ processId: dead.process_id }), [lost.id])
    t.same(await next.usage.closeInterrupted({ processId: dead.process_id }), [], 'once')
    t.same(await next.usage.show(lost.id), stored(lost))
    t.equal((await next.usage.show(finished.id)).outcome, 'complete')
    t.same(
      await next.usage.closeInterrupted({ processId: null }),
      mine.map(({ id }) => id),
    )
    t.equal((await store.users.find(scene.userId)).balanceNanoUsd, 999_995)
    t.same(await store.usage.verify(), { problems: [], users: 1, calls: 3, ledgerEntries: 2 })
  })

  await test('a trace that comes after its record leaves none', async (t, store, world) => {
    const scene = await addScene(store)
    const call = freeCallOf(scene)
    const next = await world.open()
    await next.usage.record(call, true)
    await journaled(store, world, [interrupted(call), interrupted(freeCallOf(scene))], 1)
    t.notSame(await next.usage.closeInterrupted({ processId: null }), [call.id])
    t.equal((await next.usage.show(call.id)).outcome, 'complete')
    await journaled(store, world, [interrupted(call)], 0)
    await next.usage.prune({ beforeMs: START_MS + QUARTER_MS, by })
    t.same(await next.usage.closeInterrupted({ processId: null }), [], 'also when its row is gone')
  })

  await test('pruned calls are counted as before, and the proof holds', async (t, store, world) => {
    const [a, b] = [await addScene(store, 1_000_000_000), await addScene(store, 1_000_000_000)]
    const calls = Array.from({ length: 40 }, (_, n) =>
      callOf(n % 2 ? a : b, { atMs: START_MS + n * 100_000, chargedNanoUsd: n, costNanoUsd: 2 * n }),
    )
    // It arrived before the cut and was admitted after it.
    const waited = callOf(a, { atMs: START_MS + 1_000_000 + 10, waitMs: 5000 })
    await Promise.all([...calls, waited].map((call) => store.usage.record(call, false)))
    const reports = () =>
      Promise.all(REPORT_DIMENSIONS.map((dimension) => store.usage.report({ filter: {}, by: dimension })))
    const before = await reports()
    const audits = (await store.audit.last(100)).length
    world.clock.nowMs += 1

    const middle = START_MS + 1_000_000
    t.equal(await store.usage.prune({ beforeMs: middle, by }), 10)
    const kept = [...calls, waited].filter((call) => call.atMs >= middle).map((call) => call.id)
    t.same(
      (await store.usage.list({ limit: 100 })).map(({ id }) => id),
      kept.toSorted(),
    )
    t.same(await reports(), before)
    t.same((await store.usage.verify()).problems, [])
    const [entry, ...more] = (await store.audit.last(100)).slice(audits)
    t.match(entry, { actor: by, action: 'usage.prune', subject: 'usage', detail: { beforeMs: middle, rows: 10 } })
    t.same(more, [])

    t.equal(await store.usage.prune({ beforeMs: middle, by }), 0, 'once')
    t.equal(await store.usage.prune({ beforeMs: START_MS, by }), 0, 'an earlier time changes nothing')
    world.clock.nowMs = START_MS + 40 * 100_000
    await store.usage.record(callOf(a, { atMs: START_MS + 50_000, chargedNanoUsd: 9 }), false) // a cell that has a closing row
    t.same((await store.usage.verify()).problems, [])
    t.equal(await store.usage.prune({ beforeMs: START_MS + 10_000_000, by }), 32)
    t.same(await store.usage.verify(), { problems: [], users: 2, calls: 0, ledgerEntries: 2 + 39 + 1 + 1 })
    t.equal((await store.usage.report({ filter: {}, by: 'provider' }))[0]?.requests, 42)
  })
}

function stored(call: CallRecord): StoredCall {
  return { ...call, endedAtMs: call.atMs - call.waitMs + call.durationMs }
}

function byEnd(a: StoredCall, b: StoredCall): number {
  return a.endedAtMs - b.endedAtMs || (a.id < b.id ? -1 : 1)
}

function interrupted(call: CallRecord): CallRecord {
  return { ...call, outcome: 'interrupted', usage: { ...NO_USAGE }, costNanoUsd: 0, chargedNanoUsd: 0 }
}

/** Journals calls and awaits that so many of them are there. */
async function journaled(store: Store, { database }: World, calls: CallRecord[], expected = calls.length) {
  const ids = new Set(calls.map(({ id }) => id))
  for (const call of calls) store.usage.journal(call)
  const marker = { ...calls[0], id: newCallId(1) } as CallRecord
  store.usage.journal(marker) // written last: what is not there by then never comes
  let found: string[] = []
  await until(async () => {
    found = (await database.selectFrom('running_calls').select('id').execute()).map(({ id }) => id)
    return found.includes(marker.id)
  })
  await database.deleteFrom('running_calls').where('id', '=', marker.id).execute()
  const journal = found.filter((id) => ids.has(id))
  if (journal.length !== expected) throw new Error(`${journal.length} calls are in the journal instead of ${expected}`)
  return calls
}

function usageOf(n: number): Usage {
  return {
    inputTokens: n,
    cacheWrite5mTokens: n + 1,
    cacheWrite1hTokens: n + 2,
    cacheReadTokens: n + 3,
    outputTokens: n + 4,
    reasoningTokens: n + 5,
    webSearchRequests: n + 6,
  }
}

function sumOf(calls: CallRecord[], name: 'costNanoUsd' | 'chargedNanoUsd' | 'lostNanoUsd'): number {
  return calls.reduce((sum, call) => sum + call[name], 0)
}

function expectedReport(calls: CallRecord[], nameOf: (call: CallRecord) => string): ReportRow[] {
  const groups = Map.groupBy(calls, nameOf)
  return [...groups.keys()].sort().map((value) => {
    const own = groups.get(value) ?? []
    const tokens = (kind: keyof Usage) => own.reduce((sum, call) => sum + call.usage[kind], 0)
    return {
      value,
      requests: own.length,
      errors: own.filter(({ outcome }) => outcome !== 'complete' && outcome !== 'client_left').length,
      usage: Object.fromEntries(
        Object.keys(NO_USAGE).map((kind) => [kind, tokens(kind as keyof Usage)]),
      ) as unknown as Usage,
      costNanoUsd: sumOf(own, 'costNanoUsd'),
      chargedNanoUsd: sumOf(own, 'chargedNanoUsd'),
      lostNanoUsd: sumOf(own, 'lostNanoUsd'),
      estimated: own.filter(({ estimated }) => estimated).length,
      unpriced: own.filter(({ priceState }) => priceState !== 'known').length,
      durations: histogram(own.map(({ durationMs }) => durationMs)),
      firstTokens: histogram(own.flatMap(({ firstTokenMs }) => firstTokenMs ?? [])),
    }
  })
}

const BOUNDS = [10, 25, 50, 100, 200, 400, 800, 1500, 3000, 6000, 12_000, 25_000, 60_000, 180_000, 600_000, Infinity]

function histogram(times: number[]): number[] {
  const counts = new Array<number>(HISTOGRAM_BUCKETS).fill(0)
  for (const ms of times) {
    const bucket = BOUNDS.findIndex((bound) => ms <= bound)
    counts[bucket] = (counts[bucket] ?? 0) + 1
  }
  return counts
}

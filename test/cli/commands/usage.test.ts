import { pino } from 'pino'
import t from 'tap'
import type { CallRecord } from '../../../src/domain/call.ts'
import { NO_USAGE } from '../../../src/domain/usage.ts'
import { openStore } from '../../../src/store/open.ts'
import type { Store } from '../../../src/store/store.ts'
import { type Cli, initializedCli, newCli } from '../../support/cli.ts'
import { addScene, callOf } from '../../support/store.ts'

/** Works on the store of a command line. */
async function withStore<T>({ dataDir }: Cli, work: (store: Store) => Promise<T>): Promise<T> {
  const log = pino({ level: 'silent' })
  const config = { dataDir, gateway: { chargeWaitMs: 5000 } } as Parameters<typeof openStore>[0]
  await using store = await openStore(config, 'command', { id: 'test', clock: Date.now, log })
  return await work(store)
}

const NOV_25 = Date.UTC(2026, 10, 25, 9)
const DAY_MS = 86_400_000

/** Three calls of two users: two of one model on two days, one that failed with an unpriced model. */
async function withCalls(firstMs = NOV_25): Promise<{ subgate: Cli; calls: CallRecord[]; emails: string[] }> {
  const subgate = await initializedCli()
  return withStore(subgate, async (store) => {
    const ada = await addScene(store)
    const bob = await addScene(store)
    const usage = { ...NO_USAGE, inputTokens: 1000, outputTokens: 200, cacheReadTokens: 5000 }
    const attempt = {
      accountId: ada.accountId,
      startedMs: 2,
      endedMs: 40,
      status: 529,
      fault: 'overloaded_error',
      message: 'Overloaded',
      lost: { usage: { inputTokens: 1200, outputTokens: 3 }, costNanoUsd: 4_000_000 },
    }
    const calls = [
      callOf(ada, {
        atMs: firstMs,
        usage,
        costNanoUsd: 9_000_000,
        firstTokenMs: 300,
        upstreamModel: 'claude-opus-5-5',
        requestedModel: 'claude-opus-5-5',
      }),
      callOf(ada, {
        atMs: firstMs + DAY_MS,
        usage,
        costNanoUsd: 1_000_000,
        upstreamModel: 'claude-opus-5-5',
        requestedModel: 'claude-opus-5-5',
      }),
      callOf(bob, {
        ...{
          atMs: firstMs,
          upstreamModel: 'claude-next',
          requestedModel: 'claude-next',
          priceState: 'unknown',
          costNanoUsd: 0,
        },
        ...{
          outcome: 'failed',
          usage: NO_USAGE,
          error: 'overloaded',
          status: 529,
          attempts: [attempt],
          userAgent: '=cmd("x"),\u001b[31mred',
        },
      }),
    ]
    for (const call of calls) await store.usage.record(call, false)
    const users = await store.users.list({ limit: 10 })
    const emails = [ada, bob].map(({ userId }) => users.find(({ id }) => id === userId)?.email ?? '')
    return { subgate, calls, emails }
  })
}

t.test('report adds up by model, user, day and hour', async (t) => {
  const { subgate, emails } = await withCalls()
  const byModel = (await subgate('usage', 'report', '--json')).json()
  t.match(byModel.rows, [
    {
      name: 'claude-opus-5-5',
      requests: 2,
      errors: 0,
      costNanoUsd: 10_000_000,
      inputTokens: 2000,
      cacheReadTokens: 10_000,
      outputTokens: 400,
    },
    { name: 'claude-next', requests: 1, errors: 1, costNanoUsd: 0, unpricedRequests: 1 },
  ])
  t.match(byModel.total, { requests: 3, errors: 1, costNanoUsd: 10_000_000, unpricedRequests: 1 })
  const text = await subgate('usage', 'report', '--by', 'user')
  t.match(text.stdout, new RegExp(`USER .*${emails[0]} .*2 .*\\$0\\.01 .*${emails[1]} .*total`, 's'))
  t.match(text.stderr, /1 of these calls used what has no known price/)
  const byDay = (await subgate('usage', 'report', '--by', 'day', '--utc', '--json')).json<{
    rows: { name: string; requests: number }[]
  }>()
  t.same(
    byDay.rows.map(({ name, requests }) => [name, requests]),
    [
      ['2026-11-25', 2],
      ['2026-11-26', 1],
    ],
  )
  const byHour = (await subgate('usage', 'report', '--by', 'hour', '--utc', '--json')).json<{
    rows: { name: string }[]
  }>()
  t.same(
    byHour.rows.map(({ name }) => name),
    ['2026-11-25 09:00', '2026-11-26 09:00'],
  )
  t.match(
    (await subgate('usage', 'report', '--by', 'day', '--utc', '--chart')).stdout,
    /2026-11-25 {2}█{40} \$0\.009\n2026-11-26 {2}████▌ \$0\.001/,
  )
})

t.test('filters narrow a report, and name what they do not know', async (t) => {
  const { subgate, emails } = await withCalls()
  const requests = async (...argv: string[]) =>
    (await subgate('usage', 'report', '--json', '--utc', ...argv)).json<{ total: { requests: number } }>().total
      .requests
  t.equal(await requests('--user', emails[1] as string), 1)
  t.equal(await requests('--model', 'claude-opus-5-5'), 2)
  t.equal(await requests('--from', '2026-11-26'), 1)
  t.equal(await requests('--from', '2026-11-25', '--to', '2026-11-26'), 2)
  t.match(await subgate('usage', 'report', '--user', 'nobody'), { code: 1, stderr: /no user 'nobody'/ })
  t.match(await subgate('usage', 'report', '--from', 'then'), { code: 2, stderr: /is not a time such as/ })
  t.match(await subgate('usage', 'report', '--from', '2026-11-26', '--to', '2026-11-25'), {
    code: 2,
    stderr: /not before/,
  })
})

t.test('tail prints a line a call, show the whole story of one', async (t) => {
  const { subgate, calls } = await withCalls()
  const failed = calls[2] as CallRecord
  const lines = (await subgate('usage', 'tail', '--json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.equal(lines.length, 3)
  t.same((await subgate('usage', 'tail', '-n', '1', '--json')).json(), lines[2])
  t.match((await subgate('usage', 'tail')).stdout, /complete .*6,000 in, 200 out {2}\$0\.009/)
  const story = (await subgate('usage', 'show', failed.id)).stdout
  t.match(
    story,
    /failed \(overloaded\), HTTP 529.*Attempts.*LOST.*overloaded_error +1,200 input, 3 output \(\$0\.004\) +Overloaded.*None was reported.*unknown: what it used was not told/s,
  )
  t.notOk(story.includes('\u001b'), 'what a client wrote does not reach the terminal as it is')
  t.match((await subgate('usage', 'show', failed.id, '--json')).json(), {
    id: failed.id,
    attempts: [{ status: 529, lost: { usage: { inputTokens: 1200, outputTokens: 3 }, costNanoUsd: 4_000_000 } }],
  })
  t.notMatch(
    (await subgate('usage', 'show', calls[0]?.id ?? '')).stdout,
    'LOST',
    'no word of it where nothing was lost',
  )
  const prefix = failed.id.slice(0, -2)
  t.match((await subgate('usage', 'show', prefix)).stdout, failed.id, 'a unique beginning of the id is enough')
  t.match(await subgate('usage', 'show', 'call_0'), { code: 1, stderr: /fits several/ })
  t.match(await subgate('usage', 'show', 'call_zzz'), { code: 1, stderr: /no call 'call_zzz'.*usage tail/s })
})

t.test('show tells why a call went where it did, and by which price', async (t) => {
  const subgate = await initializedCli()
  const { ids, show, scene } = await withStore(subgate, async (store) => {
    const scene = await addScene(store)
    const { accountId } = scene
    const ids = [accountId, 'acc_second', 'acc_third', 'acc_ill']
    await store.accounts.set({ id: accountId, changes: { name: 'best' }, by: 'test' })
    return { ids, scene, show: (id: string) => subgate('usage', 'show', id, '--utc') }
  })
  const [best = '', second = '', third = '', ill = ''] = ids
  const told = async (choice: Partial<NonNullable<CallRecord['choice']>>, asked: string[], more = {}) => {
    const attempts = asked.map((accountId) => ({
      ...{ accountId, startedMs: 0, endedMs: 1, status: 200, fault: null, message: null, lost: null },
    }))
    const others = [{ accountId: ill, why: 'rests (rate_limit) for 5 s' }]
    const call = callOf(scene, {
      ...{ accountId: asked.at(-1) ?? best, attempts },
      choice: {
        ...{ fallbackGroupId: null, candidates: [best, second, third], others, waited: false, session: null },
        ...choice,
      },
      ...more,
    })
    await withStore(subgate, (store) => store.usage.record(call, false))
    const { stdout } = await show(call.id)
    const table = /Choice\nACCOUNT.*\n((?:.+\n)+)\nAttempts/.exec(stdout)?.[1]?.trimEnd().split('\n') ?? []
    return { stdout, rows: table.map((line) => line.split(/ {2,}/)[1] ?? line), call }
  }
  const session = { conversation: 'a0b1', source: 'first words', binding: 'kept', from: null } as const
  const NO_NAME = 'The conversation has no name, so it is kept at no account.'
  const ILL = 'rests (rate_limit) for 5 s'
  t.same((await told({}, [second])).rows, ['its slots were busy', 'taken', 'not needed', ILL, NO_NAME])
  t.same((await told({}, [best, third])).rows, ['taken', 'not needed', 'asked later', ILL, NO_NAME])
  t.same((await told({}, [])).rows, ['taken', 'not needed', 'not needed', ILL, NO_NAME], 'its client left')
  const waited = await told({ waited: true }, [second])
  const LONGER = 'its slots were busy for longer'
  t.same(waited.rows, [LONGER, 'taken', LONGER, ILL, NO_NAME])
  t.match(waited.stdout, /admitted 100ms later, after its turn in line/)
  const named = 'The conversation a0b1, named by first words,'
  const NOT_OWN = "not the conversation's own"
  t.same((await told({ session }, [second])).rows, [
    ...[NOT_OWN, "taken: the conversation's own", NOT_OWN, ILL, `${named} stayed at its account.`],
  ])
  t.match(
    (await told({ session: { ...session, binding: 'new' } }, [best])).rows.at(-1),
    `${named} was bound to the account that was taken.`,
  )
  const from = { accountId: second, why: 'rests (rate_limit) for 5 s' }
  t.match(
    (await told({ session: { ...session, binding: 'detour', from } }, [third])).rows.at(-1),
    `${named} made a detour from acc_second: rests (rate_limit) for 5 s.`,
  )
  t.match(
    (
      await told({ session: { ...session, binding: 'moved', from: { ...from, accountId: 'acc_gone' } } }, [best])
    ).rows.at(-1),
    `${named} moved from acc_gone: rests (rate_limit) for 5 s.`,
  )
  t.match(
    (await told({ fallbackGroupId: 'grp_gone' }, [best])).stdout,
    /Choice\nNo account of its group could, so it fell back to grp_gone\.\nACCOUNT/,
  )
  const { stdout, call } = await told({}, [best], { choice: null, costNanoUsd: 18_000 })
  t.notMatch(stdout, 'Choice', 'nothing is told where there was nothing to choose')
  t.match(stdout, /price +input \$3, output \$15, cache read \$0\.30, .* per million tokens \(claude-sonnet-4-5\)\n/)
  t.match((await subgate('usage', 'show', call.id, '--json')).json(), { choice: null, price: { base: { input: 3e6 } } })
  t.match(
    stdout,
    /model +claude-sonnet-4-5 → claude-sonnet-4-5 → claude-sonnet-4-5-20250929 \(asked → sent → answered\)\n/,
  )
  const same = await told({}, [best], { reportedModel: null })
  t.match(same.stdout, /model +claude-sonnet-4-5\n/)
  const priced = await told({}, [best], { costNanoUsd: 18_001 })
  t.match(priced.stdout, /price +not the one that the list has now\n/)
  t.match((await subgate('usage', 'show', priced.call.id, '--json')).json(), {
    choice: { candidates: [best, second, third], others: [{ accountId: ill }], waited: false, session: null },
  })
})

t.test('show tells the limits that stood when a call was admitted', async (t) => {
  const subgate = await initializedCli()
  const { accountId, call, plain } = await withStore(subgate, async (store) => {
    const scene = await addScene(store)
    const { accountId, keyId } = scene
    const minute = { kind: 'sliding', ms: 60_000 } as const
    const call = callOf(scene, {
      seenLimits: [
        { subject: 'key', subjectId: keyId, limit: { metric: 'requests', max: 60, window: minute }, used: 12 },
        { subject: 'account', subjectId: accountId, limit: { metric: 'usd', max: 5e9, window: minute }, used: 31e8 },
      ],
    })
    const plain = callOf(scene)
    await store.accounts.set({ id: accountId, changes: { name: 'work' }, by: 'test' })
    for (const one of [call, plain]) await store.usage.record(one, false)
    return { accountId, call, plain }
  })
  const { stdout } = await subgate('usage', 'show', call.id)
  t.match(stdout, /Limits\nOF +LIMIT +USED\nkey .* requests\/1m +12 of 60\naccount work +usd\/1m +\$3\.10 of \$5\.00\n/)
  t.match(stdout, /with what it and other running calls might use/)
  t.match((await subgate('usage', 'show', call.id, '--json')).json(), {
    seenLimits: [{ subject: 'key', used: 12, limit: { metric: 'requests', max: 60 } }, { subjectId: accountId }],
  })
  t.notMatch((await subgate('usage', 'show', plain.id)).stdout, /Limits/)
})

t.test('export gives every call, safe for spreadsheets', async (t) => {
  const { subgate } = await withCalls()
  const csv = (await subgate('usage', 'export', '--format', 'csv')).stdout.trimEnd().split('\n')
  t.equal(csv.length, 4)
  t.match(csv[0], /^id,at,endedAt,userId,keyId,/)
  t.match(csv.join('\n'), /,"'=cmd\(""x""\),/, 'no formula, and quotes doubled')
  const rows = (await subgate('usage', 'export', '--format', 'jsonl', '--model', 'claude-next')).stdout
    .trim()
    .split('\n')
  t.match(
    rows.map((row) => JSON.parse(row)),
    [{ requestedModel: 'claude-next', attempts: 1, inputTokens: 0, at: '2026-11-25T09:00:00.000Z' }],
  )
  t.equal((await subgate('usage', 'export')).stdout.split('\n')[0], csv[0], 'CSV unless told otherwise')
  const lines = (await subgate('usage', 'export', '--json')).stdout
  t.equal(lines, (await subgate('usage', 'export', '--format', 'jsonl')).stdout, 'one object a line with --json')
  t.equal((await subgate('usage', 'export', '--json', '--format', 'csv')).stdout.split('\n')[0], csv[0])
  const empty = await initializedCli()
  t.match((await empty('usage', 'export', '--format', 'csv')).stdout, /^id,at,[^\n]*\n$/)
})

t.test('verify proves, and finds what was tampered with', async (t) => {
  const { subgate } = await withCalls()
  t.match(await subgate('usage', 'verify'), { code: 0, stdout: /Everything adds up: 3 calls/ })
  const { default: Database } = await import('better-sqlite3')
  const database = new Database(`${subgate.dataDir}/subgate.db`)
  database.exec('update usage set cost_nano_usd = cost_nano_usd + 1')
  database.close()
  t.match(await subgate('usage', 'verify'), { code: 1, stdout: /roll-up .*is not what its usage rows add up to/ })
  t.match((await subgate('usage', 'verify', '--json')).json(), { ok: false })
})

t.test('prune deletes old calls and keeps totals and proof', async (t) => {
  const { subgate } = await withCalls(Date.now() - 3 * DAY_MS)
  t.match(await subgate('usage', 'prune', '--before', '60h'), { code: 1, stderr: /--yes/ })
  const tomorrow = new Date(Date.now() + DAY_MS).toISOString().slice(0, 16)
  t.match(await subgate('usage', 'prune', '--before', tomorrow, '--utc', '--yes'), {
    ...{ code: 2, stdout: '' },
    stderr: `error: '${tomorrow}' is in the future: only calls of the past can be deleted\n`,
  })
  t.match(await subgate('usage', 'prune', '--before', '60h', '--yes'), { code: 0, stdout: '2\n' })
  t.match((await subgate('usage', 'report', '--json')).json(), { total: { requests: 3 } })
  t.match(await subgate('usage', 'verify'), { code: 0, stdout: /: 1 call, / })
})

t.test('calls that are there are not called missing because none fits', async (t) => {
  const { subgate } = await withCalls()
  t.match(await subgate('usage', 'report', '--model', 'nope'), { code: 0, stdout: '', stderr: 'No calls fit.\n' })
})

t.test('without calls and without a database', async (t) => {
  const subgate = await initializedCli()
  t.match(await subgate('usage', 'report'), { code: 0, stdout: '', stderr: /no calls yet/ })
  t.match((await subgate('usage', 'report', '--json')).json(), { rows: [], total: { requests: 0 } })
  t.match(await newCli()('usage', 'report'), { code: 3, stderr: /subgate init/ })
})

import t from 'tap'
import { secretOf } from '../../../src/domain/account.ts'
import { type CliResult, newCli } from '../../support/cli.ts'
import { messageRequest, until } from '../../support/client.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

function commandsFor({ site }: TestGateway): (...argv: string[]) => Promise<CliResult> {
  const cli = newCli()
  return (...argv) => cli(...argv, '--data-dir', site.config.dataDir)
}

/** The cells of a table's line. */
const cells = (line: string | undefined) => line?.trim().split(/ {2,}/)

t.test('who holds which slot, and who waits for what', async (t) => {
  const hang = { headDelayMs: 'forever' } as const
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      ada: await site.scene({
        user: { email: 'ada@example.com', concurrency: 1 },
        accounts: [{ name: 'first', scripts: [hang] }, { name: 'second' }],
      }),
      bob: await site.scene({
        user: { email: 'bob@example.com' },
        accounts: [{ name: 'third', concurrency: 1, scripts: [hang] }],
      }),
    }),
  })
  const subgate = commandsFor(gw)
  const { ada, bob } = gw.scenes
  t.match(await subgate('slot', 'list'), { code: 0, stdout: '', stderr: 'Nobody holds a slot.\n' })
  t.match(await subgate('slot', 'list', '--json'), { code: 0, stdout: '[]\n', stderr: '' })

  const { live } = gw.gateway
  const calls = []
  for (const [key, held, inLine] of [
    [ada.key, 1, 0],
    [bob.key, 2, 0],
    [ada.key, 2, 1],
    [bob.key, 2, 2],
  ] as const) {
    // Each its own conversation, so that none waits for the account of another.
    const messages = [{ role: 'user', content: `${held} ${inLine}` }]
    calls.push(gw.open({ key, body: messageRequest(false, { messages }) }))
    await until('the call to take its place', async () => {
      return (await live.admissions()).length === held && (await live.tickets()).length === inLine
    })
  }
  const [adaHolds, bobHolds] = await live.admissions()
  const [adaWaits, bobWaits] = await live.tickets()

  const { code, stdout, stderr } = await subgate('slot', 'list')
  t.equal(code, 0)
  t.equal(stderr, '\nWaiting in line, in order of arrival:\n', 'a heading is talk')
  const [title, ...lines] = stdout.trimEnd().split('\n').map(cells)
  t.same(title, ['CALL', 'USER', 'KEY', 'SINCE', 'ACCOUNT'])
  t.match(lines[0], [adaHolds?.callId, 'ada@example.com', ada.apiKey.id, /^\d+m?s$/, 'first'])
  t.match(lines[1], [bobHolds?.callId, 'bob@example.com', bob.apiKey.id, /^\d+m?s$/, 'third'])
  t.same(lines[2], ['NUMBER', 'CALL', 'USER', 'KEY', 'SINCE', 'PASSED', 'WAITS FOR'])
  t.match(lines[3], [String(adaWaits?.number), adaWaits?.callId, 'ada@example.com', ada.apiKey.id, /s$/, '0'])
  t.same(new Set(lines[3]?.at(-1)?.split(', ')), new Set(['first', 'second']), 'any of its accounts will do')
  t.match(lines[4], [String(bobWaits?.number), bobWaits?.callId, 'bob@example.com', bob.apiKey.id, /s$/, '0', 'third'])
  t.equal(lines.length, 5)

  const rows = (await subgate('slot', 'list', '--json')).json<Record<string, unknown>[]>()
  t.same(
    rows.map(({ state, callId }) => [state, callId]),
    [
      ['running', adaHolds?.callId],
      ['running', bobHolds?.callId],
      ['waiting', adaWaits?.callId],
      ['waiting', bobWaits?.callId],
    ],
    'one array, who runs before who waits',
  )
  const since = (ms: unknown) => ({ sinceMs: ms, since: new Date(Number(ms)).toISOString() })
  t.same(rows[1], {
    ...{ state: 'running', callId: bobHolds?.callId, processId: live.processId },
    ...{ userId: bob.user.id, keyId: bob.apiKey.id },
    ...{ accountId: bob.accounts[0]?.id, ...since(bobHolds?.sinceMs) },
  })
  t.same(rows[3], {
    ...{ state: 'waiting', callId: bobWaits?.callId, processId: live.processId, number: bobWaits?.number },
    ...{
      userId: bob.user.id,
      keyId: bob.apiKey.id,
      accountIds: [bob.accounts[0]?.id],
      passes: 0,
      ...since(bobWaits?.sinceMs),
    },
  })
  t.same(JSON.parse((await subgate('slot', 'list', '--json', '--quiet')).stdout), rows)

  for (const call of calls) call.leave()
  await gw.settled()
  t.match(await subgate('slot', 'list', '--json'), { stdout: '[]\n' })
})

t.test('a moving call holds no account, and the table says so', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const { user, apiKey } = gw.scenes
  const one = {
    callId: 'call_moves',
    processId: 'prs_1',
    userId: user.id,
    keyId: apiKey.id,
    accountId: '',
    sinceMs: Date.now() + 5000,
  }
  const other = { ...one, userId: 'usr_gone', accountId: 'acc_gone' }
  gw.gateway.live.admissions = async () => [one, other]
  const { stdout } = await commandsFor(gw)('slot', 'list')
  const [, moves, gone] = stdout.trimEnd().split('\n').map(cells)
  t.same(moves?.slice(3), ['0ms', '-'], 'and a clock that is behind makes no negative time')
  t.same([gone?.[1], gone?.[4]], ['usr_gone', 'acc_gone'], 'what was removed keeps its id')
  gw.gateway.live.admissions = async () => [one, { ...other, processId: 'prs_2' }]
  const [title, first, second] = (await commandsFor(gw)('slot', 'list')).stdout.trimEnd().split('\n').map(cells)
  t.same([title?.[3], first?.[3], second?.[3]], ['PROCESS', 'prs_1', 'prs_2'], 'where there are several')
})

/** The error that a client is told, as a body or as an event. */
const errorOf = ({ text }: { text: string }) => JSON.parse(/\{"type":"error".*\}/.exec(text)?.[0] ?? '{}').error
const ENDED = 'the operator of this gateway has ended this call'

t.test('release ends a call wherever it is; its client is told so, its row says so, its place goes on', async (t) => {
  const hang = { headDelayMs: 'forever' } as const
  const part = { text: ['one '], breaks: { after: 4, how: 'silence' as const }, usage: { input: 40, output: 99 } }
  const gw = await startGateway(t, {
    setUp: async (site) => ({
      asks: await site.scene({ user: { concurrency: 1 }, accounts: [{ scripts: [hang] }] }),
      streams: await site.scene({ accounts: [{ scripts: [part] }] }),
      moves: await site.scene({ accounts: [{ scripts: [{ status: 500 }] }, { concurrency: 1, scripts: [hang] }] }),
      left: await site.scene({ group: { whenClientLeaves: 'read_on' }, accounts: [{ scripts: [part] }] }),
    }),
  })
  const subgate = commandsFor(gw)
  const { live, store } = gw.gateway
  const { asks, streams, moves, left } = gw.scenes
  const about = (content: string) => messageRequest(false, { messages: [{ role: 'user', content }] })
  const open = async (key: string, body: object, arrived: () => Promise<boolean>) => {
    const call = gw.open({ key, body })
    await until('the call to take its place', arrived)
    return call
  }
  const has = async (running: number, waiting: number) =>
    (await live.admissions()).length === running && (await live.tickets()).length === waiting
  const calls = {
    asks: await open(asks.key, about('a'), () => has(1, 0)),
    waits: await open(asks.key, about('b'), () => has(1, 1)),
    next: await open(asks.key, about('c'), () => has(1, 2)),
    streams: await open(streams.key, messageRequest(true), () => has(2, 2)),
  }
  await calls.streams.has('"one "')
  const [asking, streaming] = (await live.admissions()).map(({ callId }) => callId)
  const [waiting] = (await live.tickets()).map(({ callId }) => callId)

  const released = await subgate('slot', 'release', waiting ?? '')
  t.match(released, { code: 0, stdout: `${waiting}\n`, stderr: /^Ended: its client is told so/ })
  const refusal = await calls.waits.over
  t.match(refusal, { status: 503, headers: { 'x-should-retry': 'false' } })
  t.match(errorOf(refusal), { message: ENDED })
  await t.rejects(store.usage.show(waiting ?? ''), { code: 'not_found' }, 'it was never admitted')

  const json = await subgate('slot', 'release', (asking ?? '').slice(0, -3), '--json')
  t.same([json.code, json.json()], [0, { callId: asking, released: true }], 'a unique beginning will do')
  const ended = await calls.asks.over
  t.match(ended, { status: 503, headers: { 'x-should-retry': 'false' } })
  t.match(errorOf(ended), { message: ENDED })
  t.match(await calls.next.over, { status: 200 }, 'its slot goes to the next')

  t.equal((await subgate('slot', 'release', streaming ?? '')).code, 0)
  const streamed = await calls.streams.over
  t.match(streamed, { status: 200, ended: 'whole', text: /"one "[\s\S]*event: error\n/ })
  t.match(errorOf(streamed), { message: ENDED })
  t.match(await store.usage.show(streaming ?? ''), { outcome: 'stopped', error: 'released', status: 200 })
  t.match(
    (await store.usage.show(streaming ?? '')).usage,
    { inputTokens: 40, outputTokens: 1 },
    'what it used is charged',
  )
  t.match(await store.usage.show(asking ?? ''), { outcome: 'stopped', error: 'released', status: 503 })
  t.match((await subgate('usage', 'show', asking ?? '')).stdout, /stopped \(released\), HTTP 503/)

  const holds = await open(moves.key, about('d'), () => has(1, 0))
  await until(
    'its second account to be asked',
    async () => (await live.admissions())[0]?.accountId === moves.accounts[1]?.id,
  )
  const first = gw.gateway.directory.account(moves.accounts[0]?.id ?? '')?.credentials()
  gw.site.script(first ? secretOf(first) : '', { status: 500 })
  const moving = await open(moves.key, about('e'), () => has(2, 1))
  const [both] = (await live.tickets()).map(({ callId }) => callId)
  t.equal((await subgate('slot', 'release', both ?? '')).code, 0)
  t.match(errorOf(await moving.over), { message: ENDED })
  await until('its slot to be free', () => has(1, 0))
  t.match(await store.usage.show(both ?? ''), { outcome: 'stopped', error: 'released', attempts: [{ status: 500 }] })
  holds.leave()

  const gone = await open(left.key, messageRequest(true), async () => gw.upstream.running === 2 || has(1, 0))
  await gone.has('"one "')
  gone.leave()
  const [readOn] = (await live.admissions()).filter(({ userId }) => userId === left.user.id)
  t.equal((await subgate('slot', 'release', readOn?.callId ?? '')).code, 0, 'nobody listens, but it holds its slot')
  await gw.settled()
  t.match(await store.usage.show(readOn?.callId ?? ''), { outcome: 'client_left', error: 'client_left' })
  t.same((await store.usage.verify()).problems, [])
  t.ok(gw.log.some(({ msg, callId, by }) => msg === 'an operator has ended a call' && callId === asking && by))
})

t.test('what cannot be released: nobody, several, and a call that has just ended', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ scripts: [{ headDelayMs: 'forever' }, { headDelayMs: 'forever' }] }] }),
  })
  const subgate = commandsFor(gw)
  const calls = [1, 2].map(() => gw.open({ key: gw.scenes.key, body: messageRequest(false) }))
  await until('two calls to run', async () => (await gw.gateway.live.admissions()).length === 2)
  const remedy = /^subgate slot list shows those that do\.$/m
  for (const ref of ['call_zz', 'call_', 'c', '']) {
    t.match(await subgate('slot', 'release', ref), { code: 1, stdout: '', stderr: remedy }, ref)
  }
  t.match((await subgate('slot', 'release', 'call_zz')).stderr, "error: no call runs or waits under 'call_zz'\n")
  const several = await subgate('slot', 'release', 'call_01')
  t.match(several, { code: 1, stderr: "error: 'call_01' fits several calls: give more of the id\n" })
  t.match(await subgate('slot', 'release'), { code: 2 })

  const [one] = await gw.gateway.live.admissions()
  gw.gateway.running.release = () => false
  t.match(await subgate('slot', 'release', one?.callId ?? ''), { code: 1, stderr: /has just ended/ })
  for (const call of calls) call.leave()
  await gw.settled()
})

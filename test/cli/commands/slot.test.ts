import t from 'tap'
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
    ...{ state: 'running', callId: bobHolds?.callId, userId: bob.user.id, keyId: bob.apiKey.id },
    ...{ accountId: bob.accounts[0]?.id, ...since(bobHolds?.sinceMs) },
  })
  t.same(rows[3], {
    ...{ state: 'waiting', callId: bobWaits?.callId, number: bobWaits?.number, userId: bob.user.id },
    ...{ keyId: bob.apiKey.id, accountIds: [bob.accounts[0]?.id], passes: 0, ...since(bobWaits?.sinceMs) },
  })
  t.same(JSON.parse((await subgate('slot', 'list', '--json', '--quiet')).stdout), rows)

  for (const call of calls) call.leave()
  await gw.settled()
  t.match(await subgate('slot', 'list', '--json'), { stdout: '[]\n' })
})

t.test('a moving call holds no account, and the table says so', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const { user, apiKey } = gw.scenes
  const one = { callId: 'call_moves', userId: user.id, keyId: apiKey.id, accountId: '', sinceMs: Date.now() + 5000 }
  gw.gateway.live.admissions = async () => [one, { ...one, userId: 'usr_gone', accountId: 'acc_gone' }]
  const { stdout } = await commandsFor(gw)('slot', 'list')
  const [, moves, gone] = stdout.trimEnd().split('\n').map(cells)
  t.same(moves?.slice(3), ['0ms', '-'], 'and a clock that is behind makes no negative time')
  t.same([gone?.[1], gone?.[4]], ['usr_gone', 'acc_gone'], 'what was removed keeps its id')
})

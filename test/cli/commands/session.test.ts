import t, { type Test } from 'tap'
import { newCli } from '../../support/cli.ts'
import { messageRequest } from '../../support/client.ts'
import { startGateway } from '../../support/gateway.ts'

const LONG = 'a0b1c2d3-e4f5-4a6b-8c7d-9e0f1a2b3c4d'

/** A gateway with two accounts, and conversations of two keys that have had an answer. */
async function withSessions(t: Test) {
  const gw = await startGateway(t, {
    setUp: async (site) => {
      const ada = await site.scene({ accounts: [{ name: 'first' }, { name: 'second' }] })
      return { ada, bob: await site.scene({ group: ada.group, user: { email: 'bob@example.com' }, accounts: [] }) }
    },
  })
  const { ada, bob } = gw.scenes
  const talk = (key: string, session: string) =>
    gw.call({ key, headers: { 'x-claude-code-session-id': session }, body: messageRequest(false) })
  for (const [key, session] of [
    [ada.key, LONG],
    [ada.key, 'a0b1c2d3-other'],
    [ada.key, 'same'],
    [bob.key, 'same'],
  ] as const) {
    await talk(key, session)
  }
  await gw.call({ key: bob.key, body: messageRequest(false) })
  await gw.settled()
  const cli = newCli()
  const subgate = (...argv: string[]) => cli(...argv, '--data-dir', gw.site.config.dataDir)
  const bound = async () => (await gw.gateway.live.bindings()).map(({ sessionKey }) => sessionKey)
  return { gw, subgate, bound, talk }
}

const cells = (line: string | undefined) => line?.trim().split(/ {2,}/)

t.test('which conversation is bound to which account', async (t) => {
  const { gw, subgate } = await withSessions(t)
  const { ada, bob } = gw.scenes
  const { code, stdout, stderr } = await subgate('session', 'list')
  t.same([code, stderr], [0, ''])
  const [title, ...lines] = stdout.trimEnd().split('\n').map(cells)
  t.same(title, ['SESSION', 'KEY', 'ACCOUNT', 'EXPIRES IN'])
  const account = /^(first|second)$/
  t.match(lines, [
    ['a0b1c2d3-e4f5-4a', ada.apiKey.id, account, /^(1h|59m)/],
    ['a0b1c2d3-other', ada.apiKey.id, account, /^(1h|59m)/],
    ['same', ada.apiKey.id, account, /^(1h|59m)/],
    ['same', bob.apiKey.id, account, /^(1h|59m)/],
    [/^[\w-]{16}$/, bob.apiKey.id, account, /^(1h|59m)/],
  ])
  const rows = (await subgate('session', 'list', '--json')).json<Record<string, unknown>[]>()
  t.equal(rows.length, 5)
  const { expiresAtMs, ...first } = rows[0] ?? {}
  const [bound] = await gw.gateway.live.bindings()
  t.same(first, {
    ...{ sessionKey: `${ada.apiKey.id} anthropic-messages ${LONG}`, accountId: bound?.accountId },
    ...{ keyId: ada.apiKey.id, protocol: 'anthropic-messages', conversation: LONG },
    expiresAt: new Date(Number(expiresAtMs)).toISOString(),
  })
  gw.gateway.live.bindings = async () => [{ sessionKey: 'key_1 p a\u001bb', accountId: 'acc_gone', expiresAtMs: 0 }]
  const odd = (await subgate('session', 'list')).stdout
  t.match(cells(odd.split('\n')[1]), [/^a.*b$/, 'key_1', 'acc_gone', '0ms'])
  t.notOk(odd.includes('\u001b'), 'clients choose these names')
})

t.test('clear takes one, those of an account, or all; the next call chooses anew', async (t) => {
  const { gw, subgate, bound, talk } = await withSessions(t)
  const { ada, bob } = gw.scenes
  t.match(await subgate('session', 'clear', 'a0b1c2d3-e4f5-4a'), {
    ...{ code: 0, stdout: '1\n', stderr: '1 conversation cleared.\n' },
  })
  t.notOk((await bound()).some((key) => key.endsWith(LONG)))
  const both = await subgate('session', 'clear', 'same')
  t.match(both, { code: 1, stdout: '', stderr: /^error: 'same' fits several sessions: give more of it\n.*sessionKey/ })
  t.match(await subgate('session', 'clear', `${bob.apiKey.id} anthropic-messages same`), { stdout: '1\n' })
  t.match(await subgate('session', 'clear', 'same'), { stdout: '1\n' }, "ada's is the only one now")
  const none = await subgate('session', 'clear', 'same')
  t.match(none, { code: 1, stderr: /^error: no session 'same' is bound to an account\nsubgate session list shows/ })

  await talk(ada.key, 'x')
  await talk(ada.key, 'xy')
  t.match(await subgate('session', 'clear', 'x'), { stdout: '1\n' }, 'its whole name goes before a beginning')
  await gw.settled()
  const before = await gw.gateway.live.bindings()
  const first = gw.scenes.ada.accounts[0]
  const atFirst = before.filter(({ accountId }) => accountId === first?.id).length
  const ofFirst = await subgate('session', 'clear', '--account', 'first', '--json')
  t.same(ofFirst.json(), { cleared: atFirst })
  t.equal((await bound()).length, before.length - atFirst)
  await talk(ada.key, LONG)
  await gw.settled()
  t.ok(
    (await bound()).some((key) => key.endsWith(LONG)),
    'a conversation is bound again by its next call',
  )
  t.match(await subgate('session', 'clear', '--all'), { code: 0, stderr: /^\d conversations? cleared\.\n$/ })
  t.same(await bound(), [])
  t.match(await subgate('session', 'clear', '--all'), { code: 0, stdout: '0\n', stderr: '0 conversations cleared.\n' })
  t.match(await subgate('session', 'list'), {
    code: 0,
    stdout: '',
    stderr: 'No conversation is bound to an account.\n',
  })
  t.match(await subgate('session', 'list', '--json'), { stdout: '[]\n' })
  t.ok(gw.log.some(({ msg, by }) => msg === 'an operator has cleared sessions' && by))

  for (const flags of [[], ['x', '--all'], ['x', '--account', 'first'], ['--all', '--account', 'first']]) {
    t.match(await subgate('session', 'clear', ...flags), { code: 2, stderr: /say which/ }, flags.join(' '))
  }
  t.match(await subgate('session', 'clear', '--account', 'nobody'), { code: 1, stderr: /nobody/ })
})

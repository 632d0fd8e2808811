import t from 'tap'
import { initializedCli } from '../../support/cli.ts'
import { keepSecret, secretKey } from '../../support/secrets.ts'

t.test('a key is printed once, alone on stdout, and never again', async (t) => {
  const subgate = await initializedCli()
  const issued = await subgate('key', 'issue', 'admin@localhost', '--name', 'laptop')
  const key = keepSecret(issued.stdout.trim())
  t.match(issued.stdout, /^sk-[A-Za-z0-9_-]{43}\n$/)
  t.notMatch(issued.stderr, key, 'not in the talk')
  for (const argv of [
    ['key', 'list'],
    ['key', 'show', 'laptop'],
    ['key', 'list', '--json'],
    ['env', 'laptop'],
  ]) {
    const { stdout, stderr } = await subgate(...argv)
    t.notOk((stdout + stderr).includes(key), argv.join(' '))
    t.ok((stdout + stderr).includes(key.slice(-4)), 'its last four characters tell it apart')
  }
  const json = (await subgate('key', 'issue', 'admin@localhost', '--json')).json<{ id: string; key: string }>()
  t.match(json, { id: /^key_/, key: /^sk-/ })
  keepSecret(json.key)
})

t.test('limits are given at issue, changed by set, taken away by their words', async (t) => {
  const subgate = await initializedCli()
  await subgate(
    ...['key', 'issue', 'admin@localhost', '--name', 'k', '--quota', '20', '--concurrency', '3', '--expires', '30d'],
    ...['--allow-ip', '10.0.0.0/8,192.168.1.7', '--deny-ip', '10.1.0.0/16', '--models', 'claude-*', '--models', 'x'],
  )
  const show = async () => (await subgate('key', 'show', 'k', '--json')).json()
  const before = await show()
  t.match(before, {
    quotaNanoUsd: 20_000_000_000,
    concurrency: 3,
    allowIps: ['10.0.0.0/8', '192.168.1.7'],
    denyIps: ['10.1.0.0/16'],
    models: ['claude-*', 'x'],
    spentNanoUsd: 0,
    userEmail: 'admin@localhost',
    groupName: 'default',
  })
  const days = ((before.expiresAtMs as number) - Date.now()) / 86_400_000
  t.ok(days > 29.9 && days <= 30, 'expires in 30 days')
  const changes = [
    '--quota',
    'none',
    '--concurrency',
    'none',
    '--expires',
    'never',
    '--allow-ip',
    'any',
    '--deny-ip',
    'any',
  ]
  t.equal((await subgate('key', 'set', 'k', ...changes, '--models', 'any', '--name', 'renamed')).code, 0)
  const after = (await subgate('key', 'show', 'renamed', '--json')).json()
  t.match(after, { quotaNanoUsd: null, concurrency: null, expiresAtMs: null, expiresAt: null })
  t.same([after.allowIps, after.denyIps, after.models], [[], [], []])
})

t.test('a key that a user already has can be brought along', async (t) => {
  const subgate = await initializedCli()
  const key = secretKey('sk-brought-')
  const brought = await subgate.with({ env: { OLD_KEY: key } })(
    'key',
    'issue',
    'admin@localhost',
    '--key-from-env',
    'OLD_KEY',
  )
  t.equal(brought.stdout, `${key}\n`)
  const again = await subgate.with({ env: { OLD_KEY: key } })(
    'key',
    'issue',
    'admin@localhost',
    '--key-from-env',
    'OLD_KEY',
  )
  t.match(again, { code: 1, stderr: /already issued, as key_/, stdout: '' })
  t.match(await subgate('key', 'issue', 'admin@localhost', '--key-from-env', 'NOPE'), {
    code: 1,
    stderr: /environment has no NOPE/,
  })
  t.match(await subgate.with({ env: { OLD: 'short' } })('key', 'issue', 'admin@localhost', '--key-from-env', 'OLD'), {
    code: 1,
    stderr: /20 to 256/,
  })
})

t.test('rotate and revoke need a yes where nobody can be asked', async (t) => {
  const subgate = await initializedCli()
  keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'k')).stdout.trim())
  t.match(await subgate('key', 'rotate', 'k'), { code: 1, stderr: /--yes/, stdout: '' })
  const rotated = await subgate('key', 'rotate', 'k', '--yes')
  t.match(rotated, { code: 0, stdout: /^sk-/ })
  keepSecret(rotated.stdout.trim())
  t.match(await subgate('key', 'revoke', 'k'), { code: 1, stderr: /--yes/ })
  t.equal((await subgate('key', 'revoke', 'k', '--yes')).code, 0)
  t.match((await subgate('key', 'show', 'k', '--json')).json(), { status: 'revoked' })
})

t.test('what goes wrong is said', async (t) => {
  const subgate = await initializedCli()
  const cases: [code: number, words: RegExp, argv: string[]][] = [
    [2, /is in the past/, ['key', 'issue', 'admin@localhost', '--expires', '2020-01-01']],
    [2, /is not a time such as/, ['key', 'issue', 'admin@localhost', '--expires', 'soon']],
    [2, /not an address or a CIDR/, ['key', 'issue', 'admin@localhost', '--allow-ip', '10.0.0.0/99']],
    [1, /no group 'nope'/, ['key', 'issue', 'admin@localhost', '--group', 'nope']],
    [1, /no user 'nope'/, ['key', 'issue', 'nope']],
    [1, /no key 'nope'/, ['key', 'show', 'nope']],
  ]
  for (const [code, stderr, argv] of cases) t.match(await subgate(...argv), { code, stderr }, argv.join(' '))
})

t.test('env prints the lines of a client, with the key only if it is handed in and the right one', async (t) => {
  const subgate = await initializedCli()
  const key = keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'k')).stdout.trim())
  const other = keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'other')).stdout.trim())
  t.match(
    (await subgate('env', 'k')).stdout,
    /^export ANTHROPIC_BASE_URL=http:\/\/127\.0\.0\.1:8080\nexport ANTHROPIC_AUTH_TOKEN=PASTE/,
  )
  const filled = await subgate.with({ env: { K: key } })(
    'env',
    'k',
    '--key-from-env',
    'K',
    '--url',
    'https://gate.example.com/',
  )
  t.equal(
    filled.stdout.replace(key, 'KEY'),
    'export ANTHROPIC_BASE_URL=https://gate.example.com\nexport ANTHROPIC_AUTH_TOKEN=KEY\n',
  )
  t.match(await subgate.with({ env: { K: other } })('env', 'k', '--key-from-env', 'K'), {
    code: 1,
    stderr: /does not hold the key/,
  })
})

t.test('every client has lines of its own', async (t) => {
  const subgate = await initializedCli()
  keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'k')).stdout.trim())
  const lines = async (client: string) => {
    const { stdout } = await subgate('env', 'k', '--client', client, '--url', 'https://gate.example.com/sub path')
    return stdout.trim().split('\n')
  }
  t.match(await lines('codex'), [
    'export SUBGATE_KEY=PASTE-THE-KEY-HERE',
    /^codex\(\) \{ command codex .* -c 'model_providers\.subgate\.base_url=https:\/\/gate\.example\.com\/sub path\/v1' .* "\$@"; \}$/,
  ])
  t.match(await lines('gemini-cli'), [
    /^# .*\.gemini\/settings\.json: \{"security"/,
    "export GOOGLE_GEMINI_BASE_URL='https://gate.example.com/sub path'",
    'export GEMINI_API_KEY=PASTE-THE-KEY-HERE',
  ])
  t.same(await lines('openai'), [
    "export OPENAI_BASE_URL='https://gate.example.com/sub path/v1'",
    'export OPENAI_API_KEY=PASTE-THE-KEY-HERE',
  ])
})

t.test('a revoked key is not rotated into another key that does not work', async (t) => {
  const subgate = await initializedCli()
  keepSecret((await subgate('key', 'issue', 'admin@localhost', '--name', 'k')).stdout.trim())
  await subgate('key', 'revoke', 'k', '--yes')
  const rotated = await subgate('key', 'rotate', 'k', '--yes')
  t.match(rotated, { code: 1, stdout: '', stderr: /is revoked.*subgate key issue USER/s })
})

t.test('what is said to come next works, also if another key has that name', async (t) => {
  const subgate = await initializedCli()
  for (const ref of [/^k$/, /^key_[0-9a-f]{20}$/]) {
    const { stdout, stderr } = await subgate('key', 'issue', 'admin@localhost', '--name', 'k')
    keepSecret(stdout.trim())
    const said = /subgate env (\S+)/.exec(stderr)?.[1] ?? ''
    t.match(said, ref)
    t.equal((await subgate('env', said)).code, 0)
  }
})

t.test('a new key takes the name of a revoked one', async (t) => {
  const subgate = await initializedCli()
  const issue = async () => {
    const { id, key } = (await subgate('key', 'issue', 'admin@localhost', '--name', 'laptop', '--json')).json<{
      id: string
      key: string
    }>()
    keepSecret(key)
    return id
  }
  const old = await issue()
  await subgate('key', 'revoke', 'laptop', '--yes')
  t.match((await subgate('key', 'show', 'laptop', '--json')).json(), { id: old }, 'as long as no other has its name')
  const id = await issue()
  t.match((await subgate('key', 'show', 'laptop', '--json')).json(), { id, status: 'active' })
  t.match((await subgate('key', 'show', old, '--json')).json(), { id: old, status: 'revoked' })
})

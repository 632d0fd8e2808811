import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { loadConfig } from '../../../src/config/load.ts'
import { FakeUpstream } from '../../../src/demo/fake-upstream.ts'
import { PROVIDERS, type Rest } from '../../../src/domain/account.ts'
import { openStore } from '../../../src/store/open.ts'
import { type Cli, initializedCli } from '../../support/cli.ts'
import { keepSecret, secretKey } from '../../support/secrets.ts'

/** What lets accounts call a server of the test. */
const LOCAL = {
  SUBGATE_SECURITY_URL_ALLOWLIST_ENABLED: 'false',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP: 'true',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS: 'true',
}

t.test('the key comes from the environment, a file or standard input, and is never shown', async (t) => {
  const subgate = await initializedCli()
  const [first, second, third] = [secretKey(), secretKey(), secretKey()] as const
  const file = join(subgate.home, 'key.txt')
  writeFileSync(file, `${second}\n`)
  const results = [
    await subgate.with({ env: { MY_KEY: first } })(
      'account',
      'add',
      'anthropic',
      '--name',
      'a',
      '--from-env',
      'MY_KEY',
    ),
    await subgate('account', 'add', 'anthropic', '--name', 'b', '--from-file', file),
    await subgate.with({ stdin: `${third}\n` })('account', 'add', 'anthropic', '--name', 'c', '--api-key-stdin'),
  ]
  t.same(
    results.map(({ code }) => code),
    [0, 0, 0],
  )
  const outputs = [
    ...results,
    await subgate('account', 'list'),
    await subgate('account', 'list', '--json'),
    await subgate('account', 'show', 'a', '--json'),
  ]
  const said = outputs.map(({ stdout, stderr }) => stdout + stderr).join('\n')
  t.notOk([first, second, third].some((key) => said.includes(key)))
  t.notMatch(said, /sealedCredentials/)
  const shown = (await subgate('account', 'list', '--json')).json<
    { name: string; last4: string; groupIds: string[] }[]
  >()
  t.same(
    shown.map(({ name, last4 }) => [name, last4]),
    [
      ['a', first.slice(-4)],
      ['b', second.slice(-4)],
      ['c', third.slice(-4)],
    ],
  )
  t.ok(
    shown.every(({ groupIds }) => groupIds.length === 1),
    'they join the default group',
  )
})

t.test('where no key is given the ways to give it are told', async (t) => {
  const subgate = await initializedCli()
  t.match(await subgate('account', 'add', 'anthropic'), {
    code: 1,
    stderr: /--from-env NAME.*never taken from the command line/s,
  })
  t.match(await subgate('account', 'add', 'anthropic', '--from-env', 'NOPE'), {
    code: 1,
    stderr: /environment has no NOPE/,
  })
  t.match(await subgate('account', 'add', 'antropic'), {
    ...{ code: 2, stdout: '' },
    stderr: `error: 'antropic' is no provider. Possible: ${PROVIDERS.join(', ')}; did you mean anthropic?\n(add --help for what is possible)\n`,
  })
})

t.test('a base URL has to pass the checks, each with its remedy; --allow-host adds to the file', async (t) => {
  const subgate = await initializedCli()
  const env = { KEY: secretKey() }
  const add = (...more: string[]) =>
    subgate.with({ env })('account', 'add', 'anthropic', '--from-env', 'KEY', '--base-url', ...more)
  t.match(await add('http://relay.example.com'), {
    code: 1,
    stderr: /invalid url scheme: http.*allow_insecure_http: true/s,
  })
  t.match(await add('https://127.0.0.1'), { code: 1, stderr: /private address.*allow_private_hosts/s })
  t.match(await add('http://127.0.0.1:11434'), {
    code: 1,
    stderr: /http; 127\.0\.0\.1 is a private address\n.*allow_insecure_http: true.*allow_private_hosts: true/,
  })
  t.match(await add('https://relay.example.com'), { code: 1, stderr: /not on the allowlist.*Add --allow-host/s })
  t.match(await add('http://relay.example.com', '--allow-host'), { code: 1, stderr: /invalid url scheme/ })
  const allowed = await add('https://relay.example.com/', '--allow-host')
  t.match(allowed, { code: 0, stderr: /Added relay\.example\.com to security\.url_allowlist\.upstream_hosts/ })
  const config = (await subgate('config', 'show', '--json')).json<{ key: string; value: string }[]>()
  t.match(
    config.find(({ key }) => key.endsWith('upstream_hosts')),
    { value: /^api\.anthropic\.com, .*relay\.example\.com$/, source: 'file' },
  )
  t.match((await subgate('account', 'show', 'anthropic', '--json')).json(), { baseUrl: 'https://relay.example.com' })
})

t.test('set changes what is named, pause and resume say what they do, remove asks', async (t) => {
  const subgate = await initializedCli()
  await subgate.with({ env: { KEY: secretKey() } })('account', 'add', 'anthropic', '--from-env', 'KEY')
  const set = [
    '--priority',
    '5',
    '--weight',
    '0',
    '--concurrency',
    '9',
    '--models',
    'a-*,b',
    '--header',
    'X-Team=blue',
    '--expires',
    '10d',
    '--name',
    'main',
  ]
  t.equal((await subgate('account', 'set', 'anthropic', ...set)).code, 0)
  t.match((await subgate('account', 'show', 'main', '--json')).json(), {
    priority: 5,
    weight: 0,
    concurrency: 9,
    models: ['a-*', 'b'],
    headers: { 'x-team': 'blue' },
    expiresAt: /^2/,
  })
  const undo = ['--concurrency', 'none', '--models', 'default', '--header', 'none', '--expires', 'never']
  t.equal((await subgate('account', 'set', 'main', ...undo)).code, 0)
  const account = (await subgate('account', 'show', 'main', '--json')).json()
  t.same([account.concurrency, account.models, account.headers, account.expiresAtMs], [null, [], {}, null])
  t.match(await subgate('account', 'set', 'main', '--header', 'authorization=x'), { code: 1, stderr: /cannot be set/ })
  await subgate('account', 'pause', 'main')
  t.match((await subgate('account', 'list')).stdout, /main .*paused/)
  await subgate('account', 'resume', 'main')
  t.match((await subgate('account', 'list')).stdout, /main .*active/)
  t.match(await subgate('account', 'remove', 'main'), { code: 1, stderr: /--yes/ })
  t.equal((await subgate('account', 'remove', 'main', '--yes')).code, 0)
  t.same((await subgate('account', 'list', '--json')).json(), [])
})

t.test('a model map is set, shown, changed entry by entry, and refused where it says nothing', async (t) => {
  const subgate = await initializedCli()
  const cli = subgate.with({ env: { KEY: secretKey() } })
  const map = (...entries: string[]) => entries.flatMap((entry) => ['--model-map', entry])
  const added = ['account', 'add', 'anthropic', '--from-env', 'KEY', ...map('claude-*=opus', 'gpt-6=sonnet')]
  t.equal((await cli(...added)).code, 0)
  const shown = async () => (await subgate('account', 'show', 'anthropic', '--json')).json().modelMap
  t.same(await shown(), { 'claude-*': 'opus', 'gpt-6': 'sonnet' })
  t.match((await subgate('account', 'show', 'anthropic')).stdout, /model map +claude-\* → opus, gpt-6 → sonnet/)
  const set = (...entries: string[]) => subgate('account', 'set', 'anthropic', ...map(...entries))
  t.equal((await set('gpt-6=none', 'gpt-7=opus')).code, 0)
  t.same(await shown(), { 'claude-*': 'opus', 'gpt-7': 'opus' }, 'others stay')
  for (const wrong of ['claude', '=x', 'x=', 'a=b=c', 'a=b*']) {
    t.match(await set(wrong), { code: 2, stderr: /is not ASKED=SENT|is a pattern/ }, wrong)
  }
  const many = Array.from({ length: 101 }, (_, index) => `m${index}=x`)
  t.match(await set(...many), { code: 1, stderr: /at most 100 entries/ })
  t.equal((await set('none')).code, 0)
  t.same(await shown(), {})
  t.notMatch((await subgate('account', 'show', 'anthropic')).stdout, /model map/)
})

t.test('rest rules are set, shown, taken away, and refused where they say nothing', async (t) => {
  const subgate = await initializedCli()
  await subgate.with({ env: { KEY: secretKey() } })('account', 'add', 'anthropic', '--from-env', 'KEY')
  const set = (...rules: string[]) =>
    subgate('account', 'set', 'anthropic', ...rules.flatMap((rule) => ['--rest-rule', rule]))
  t.equal((await set('403:quota exceeded, plan=b limit=30m', '500=90s')).code, 0)
  t.same((await subgate('account', 'show', 'anthropic', '--json')).json().restRules, [
    { status: 403, keywords: ['quota exceeded', 'plan=b limit'], restMs: 1_800_000 },
    { status: 500, keywords: [], restMs: 90_000 },
  ])
  t.match((await subgate('account', 'show', 'anthropic')).stdout, /403:quota exceeded,plan=b limit=30m · 500=1m30s/)
  for (const wrong of ['403', '=5m', '999=5m', '403:=5m', '403:a,,b=5m', '403=soon', '403=10', '403=500ms', '403=8d']) {
    t.match(await set(wrong), { code: 2, stderr: /is not STATUS=TIME|a rest is 1s to 7d long/ }, wrong)
  }
  t.equal((await set('none')).code, 0)
  t.same((await subgate('account', 'show', 'anthropic', '--json')).json().restRules, [])
})

t.test('deadlines are set one by one, shown, and taken away', async (t) => {
  const subgate = (await initializedCli()).with({ env: { KEY: secretKey() } })
  const deadlines = async () => (await subgate('account', 'show', 'anthropic', '--json')).json().deadlines
  const add = ['account', 'add', 'anthropic', '--from-env', 'KEY']
  t.match(await subgate(...add, '--deadline', 'connects=1s'), { code: 2, stderr: /did you mean connect\?/ })
  t.equal((await subgate(...add, '--deadline', 'connect=3s,idle=5m')).code, 0)
  t.same(await deadlines(), { connectMs: 3000, idleMs: 300_000 })
  const set = (...changes: string[]) =>
    subgate('account', 'set', 'anthropic', ...changes.flatMap((change) => ['--deadline', change]))
  t.equal((await set('first_event=90s', 'idle=none')).code, 0)
  t.same(await deadlines(), { connectMs: 3000, firstEventMs: 90_000 })
  t.match((await subgate('account', 'show', 'anthropic')).stdout, /deadlines +connect 3s, first_event 1m30s\n/)
  t.match(await set('idle=1ms'), { code: 2, stderr: /a deadline is 100ms to 1d long/ })
  t.equal((await subgate('account', 'set', 'anthropic', '--weight', '7')).code, 0)
  t.same(await deadlines(), { connectMs: 3000, firstEventMs: 90_000 }, 'other changes leave them')
  t.equal((await set('none')).code, 0)
  t.same(await deadlines(), {})
  t.notMatch((await subgate('account', 'show', 'anthropic')).stdout, /deadlines/)
})

t.test('rests and windows are shown as they are now, and wake ends the rests', async (t) => {
  const subgate = await initializedCli()
  await subgate.with({ env: { KEY: secretKey() } })('account', 'add', 'anthropic', '--from-env', 'KEY')
  const nowMs = Date.now()
  const { config } = loadConfig({ env: {}, cwd: subgate.home, terminal: false, flags: { data_dir: subgate.dataDir } })
  const log = pino({ level: 'silent' })
  const ended: Rest = {
    untilMs: nowMs + 7_230_000,
    sinceMs: nowMs,
    hardness: 'hard',
    kind: 'rate_limit',
    reason: 'x',
    step: 1,
  }
  {
    await using store = await openStore(config, 'command', { id: 'prs_test', clock: Date.now, log })
    const { id } = await store.accounts.find('anthropic')
    await store.accounts.rest({ id, rest: null, modelRests: [{ ...ended, model: 'claude-x' }], disabledReason: null })
    const window = { source: 'headers', sampledAtMs: nowMs, models: null } as const
    const windows = [
      { ...window, name: '5h', lengthMs: 18_000_000, used: 0.999, resetAtMs: nowMs + 7_230_000 },
      { ...window, name: '7d', lengthMs: 604_800_000, used: 0.5, resetAtMs: nowMs - 1 },
    ]
    await store.accounts.keepWindows({ samples: [{ id, windows }] })
  }
  t.match((await subgate('account', 'list')).stdout, /active, but not for claude-x for 2h.* 5h 99%, 7d 0% /)
  const { stdout } = await subgate('account', 'show', 'anthropic')
  t.match(stdout, /window 5h +99% used, whole again in 2h\S*, as of 20/)
  t.match(stdout, /window 7d +0% used, as of 20/, 'it began anew')
  t.match((await subgate('account', 'show', 'anthropic', '--json')).json(), {
    windows: [{ name: '5h', used: 0.999, source: 'headers', resetAt: /^20/, sampledAt: /^20/ }, { used: 0.5 }],
    modelRests: [{ model: 'claude-x', until: /^20/ }],
  })
  t.match(await subgate('account', 'wake', 'anthropic'), { code: 0, stdout: /^acc_/, stderr: /rests no more/ })
  t.match((await subgate('account', 'list')).stdout, / active /)
  await subgate('account', 'pause', 'anthropic')
  t.match(await subgate('account', 'wake', 'anthropic'), {
    code: 0,
    stderr: /paused all the same: subgate account resume/,
  })
  t.match(await subgate('account', 'wake', 'nobody'), { code: 1, stderr: /there is no account 'nobody'/ })
})

t.test('test asks the upstream for its models', async (t) => {
  await using upstream = await FakeUpstream.start()
  const subgate = await initializedCli()
  const local = subgate.with({ env: { ...LOCAL, KEY: secretKey() } })
  await local('account', 'add', 'anthropic', '--name', 'good', '--from-env', 'KEY', '--base-url', upstream.url)
  t.match((await local('account', 'test', 'good', '--json')).json(), [{ name: 'good', result: 'works', models: 3 }])
  t.match(upstream.seen, [{ method: 'GET', path: /^\/v1\/models/ }])
  await local('account', 'add', 'anthropic', '--name', 'gone', '--from-env', 'KEY', '--base-url', 'http://127.0.0.1:1')
  const both = await local('account', 'test')
  t.match(both, { code: 1, stdout: /gone +fails .*ECONNREFUSED.*good +works/s })
})

/** Results by name, of an import of this text. */
async function imported(subgate: Cli, text: string, ...flags: string[]) {
  const file = join(subgate.home, 'import')
  writeFileSync(file, text)
  const result = await subgate('account', 'import', '--file', file, '--json', ...flags)
  return {
    ...result,
    rows: result.stdout ? result.json<{ name: string; result: string; detail: string | null }[]>() : [],
  }
}

t.test('import reports each entry and does not stop at a bad one', async (t) => {
  const subgate = await initializedCli()
  const key = secretKey()
  const list = `
- { provider: anthropic, name: one, api_key: ${key}, priority: 1, models: [claude-*] }
- { provider: anthropic, name: one, api_key: ${secretKey()} }
- { provider: anthropic, name: again, api_key: ${key} }
- { provider: nobody, name: three, api_key: x }
- { provider: anthropic, name: four }
- { provider: anthropic, name: five, api_key: "has a space in it" }
- { provider: anthropic, name: six, api_key: ${secretKey()}, base_url: "https://elsewhere.example.com" }
- { provider: anthropic, name: seven, api_key: ${secretKey()}, prio: 3 }
- { provider: anthropic, name: eight, api_key: ${secretKey()}, model_map: { "claude-*": "claude b" } }
- { provider: anthropic, name: nine, api_key: ${secretKey()}, model_map: { "claude-*": claude-b } }
`
  const dry = await imported(subgate, list, '--dry-run')
  t.match(dry.stderr, /Nothing was written/)
  t.same((await subgate('account', 'list', '--json')).json(), [])
  const { rows, code, stdout, stderr } = await imported(subgate, list)
  t.equal(code, 1, 'some were refused')
  t.match(rows, [
    { name: 'one', result: 'added', detail: null },
    { name: 'one-2', result: 'added' },
    { name: 'again', result: 'exists', detail: "as 'one'" },
    { name: 'three', result: 'refused', detail: /provider/ },
    { name: 'four', result: 'refused', detail: /api_key/ },
    { name: 'five', result: 'refused', detail: /no spaces/ },
    { name: 'six', result: 'refused', detail: /not on the allowlist/ },
    { name: 'seven', result: 'refused', detail: /prio/ },
    { name: 'eight', result: 'refused', detail: /'claude b' is not the name of a model/ },
    { name: 'nine', result: 'added', detail: null },
  ])
  t.same((await subgate('account', 'show', 'nine', '--json')).json().modelMap, { 'claude-*': 'claude-b' })
  t.notOk((stdout + stderr).includes(key))
  t.match(stderr, /3 added, 1 existed, 6 refused/)
  const second = await imported(subgate, list, '--allow-host')
  t.match(second.stderr, /Added elsewhere\.example\.com to/)
  t.match(
    second.rows.map(({ result }) => result),
    ['exists', 'exists', 'exists', 'refused', 'refused', 'refused', 'added', 'refused', 'refused', 'exists'],
  )
})

t.test('import reads an export of Sub2API, as a file or as its API answers it', async (t) => {
  const subgate = await initializedCli()
  const document = {
    type: 'sub2api-data',
    version: 1,
    exported_at: '2026-11-01T00:00:00Z',
    proxies: [],
    accounts: [
      {
        ...{ name: 'key account', platform: 'anthropic', type: 'apikey', concurrency: 4, priority: 2 },
        credentials: {
          api_key: secretKey(),
          base_url: 'https://api.anthropic.com/v1',
          model_mapping: { 'claude-x': 'claude-x' },
        },
        expires_at: 1_893_456_000,
      },
      {
        ...{
          name: 'mapped',
          platform: 'anthropic',
          type: 'apikey',
          concurrency: 0,
          priority: 50,
          proxy_key: 'http|p|1||',
          rate_multiplier: 2,
        },
        credentials: { api_key: secretKey(), model_mapping: { 'claude-a': 'claude-b', 'claude-c': 'claude-c' } },
      },
      {
        ...{ name: 'mapped oddly', platform: 'anthropic', type: 'apikey', concurrency: 1, priority: 50 },
        credentials: { api_key: secretKey(), model_mapping: { 'claude-*': 'gpt-*' } },
      },
      {
        name: 'subscription',
        platform: 'anthropic',
        type: 'oauth',
        credentials: { access_token: 'x' },
        concurrency: 3,
        priority: 50,
      },
      { name: 'other', platform: 'sora', type: 'apikey', credentials: { api_key: 'y' }, concurrency: 3, priority: 50 },
    ],
  }
  const { rows } = await imported(subgate, JSON.stringify({ code: 0, message: 'success', data: document }))
  t.match(rows, [
    { name: 'key account', result: 'added', detail: null },
    {
      name: 'mapped',
      result: 'added',
      detail: 'without its proxy; without its rate multiplier',
    },
    { name: 'mapped oddly', result: 'added', detail: 'without its model map' },
    { name: 'subscription', result: 'refused', detail: /type 'oauth'/ },
    { name: 'other', result: 'refused', detail: /provider 'sora'/ },
  ])
  t.match((await subgate('account', 'show', 'key account', '--json')).json(), {
    baseUrl: 'https://api.anthropic.com',
    concurrency: 4,
    priority: 2,
    models: ['claude-x'],
    expiresAtMs: 1_893_456_000_000,
  })
  const mapped = (await subgate('account', 'show', 'mapped', '--json')).json()
  t.match(mapped, { concurrency: null, models: ['claude-a', 'claude-c'] })
  t.same(mapped.modelMap, { 'claude-a': 'claude-b' })
  const again = await imported(subgate, JSON.stringify(document))
  t.match(again.rows, [
    { result: 'exists' },
    { result: 'exists' },
    { result: 'exists' },
    { result: 'refused' },
    { result: 'refused' },
  ])
})

t.test('import reads an export of claude-relay-service', async (t) => {
  const subgate = await initializedCli()
  const document = {
    success: true,
    data: {
      exportedAt: '2026-11-01T00:00:00Z',
      claudeAccounts: [
        { kind: 'claude', id: '1', name: 'max plan', authType: 'oauth', credentials: { access_token: 'x' } },
      ],
      claudeConsoleAccounts: [
        {
          ...{
            kind: 'claude-console',
            id: '2',
            name: 'console',
            isActive: true,
            schedulable: true,
            priority: 7,
            maxConcurrentTasks: 2,
          },
          credentials: { api_key: secretKey(), base_url: 'https://api.anthropic.com' },
        },
        {
          id: '3',
          name: 'off',
          isActive: false,
          priority: '50',
          apiKey: secretKey(),
          apiUrl: 'https://api.anthropic.com/v1/messages',
          supportedModels: '{"claude-y":"claude-z"}',
        },
      ],
      openaiResponsesAccounts: [
        { name: 'codex', credentials: { api_key: secretKey(), base_url: 'https://api.openai.com/v1/responses' } },
      ],
      geminiApiKeyAccounts: [{ name: 'studio', credentials: { api_key: 'x' } }],
    },
  }
  const { rows } = await imported(subgate, JSON.stringify(document))
  t.match(rows, [
    { name: 'console', result: 'added', from: 'claudeConsoleAccounts, entry 1' },
    { name: 'off', result: 'added', detail: /paused/ },
    { name: 'max plan', result: 'refused', detail: /OAuth/ },
    { name: 'codex', result: 'added' },
    { name: 'studio', result: 'refused' },
  ])
  t.match((await subgate('account', 'show', 'codex', '--json')).json(), { baseUrl: 'https://api.openai.com/v1' })
  t.match((await subgate('account', 'show', 'console', '--json')).json(), {
    priority: 7,
    concurrency: 2,
    status: 'active',
  })
  t.match((await subgate('account', 'show', 'off', '--json')).json(), {
    status: 'paused',
    baseUrl: 'https://api.anthropic.com',
    models: ['claude-y'],
    modelMap: { 'claude-y': 'claude-z' },
  })
})

t.test('import says when there is nothing to import', async (t) => {
  const subgate = await initializedCli()
  t.match(await subgate('account', 'import'), { code: 2, stderr: /--from-env, or --file/ })
  t.match(await subgate('account', 'import', '--from-env'), { code: 1, stderr: /no ANTHROPIC_API_KEY/ })
  t.match(await subgate('account', 'import', '--file', '/nowhere'), { code: 1, stderr: /nowhere: no such file/ })
  t.match(await imported(subgate, '{"hello": 1}'), { code: 1, stderr: /none of: a list of accounts/ })
  t.match(await imported(subgate, '{{{'), { code: 1, stderr: /neither JSON nor YAML/ })
  t.match(await imported(subgate, '[]'), { code: 1, stderr: /lists no accounts/ })
})

t.test('what cannot be read is said, and is no bug', async (t) => {
  const subgate = await initializedCli()
  const add = ['account', 'add', 'anthropic', '--from-file']
  t.match(await subgate(...add, '/nowhere'), {
    code: 1,
    stdout: '',
    stderr: 'error: /nowhere: no such file or folder\n',
  })
  t.match(await subgate(...add, subgate.home), { code: 1, stderr: /: it is a folder$/m })
  t.match(await subgate(...add, '/dev/null/x'), { code: 1, stderr: /: a part of the path is not a folder$/m })
})

t.test('an import names the provider that it cannot take', async (t) => {
  const subgate = await initializedCli()
  const stdin = JSON.stringify([{ provider: 'nobody', name: 'one', api_key: secretKey() }])
  const file = join(subgate.home, 'accounts.json')
  writeFileSync(file, stdin)
  const { code, stdout } = await subgate('account', 'import', '--file', file)
  t.equal(code, 1)
  t.match(stdout, /the provider 'nobody' is not supported yet/)
})

/** An access token as ChatGPT makes them: what it says of itself stands in its middle. */
function accessToken(claims: object): string {
  return keepSecret(['e30', Buffer.from(JSON.stringify(claims)).toString('base64url'), 'c2lnbmF0dXJl'].join('.'))
}

t.test('import takes the access token of a ChatGPT login, from Codex or from a list', async (t) => {
  const subgate = await initializedCli()
  const exp = Date.UTC(2036, 0, 1) / 1000
  const auth = { chatgpt_account_id: 'ws_claimed' }
  const login = {
    auth_mode: 'chatgpt',
    OPENAI_API_KEY: null,
    tokens: { access_token: accessToken({ exp }), refresh_token: 'rt_x', account_id: 'ws_1' },
  }
  const { rows } = await imported(subgate, JSON.stringify(login))
  t.match(rows, [{ name: 'chatgpt', provider: 'openai', result: 'added', detail: /without its refresh token/ }])
  t.match((await subgate('account', 'show', 'chatgpt', '--json')).json(), {
    baseUrl: 'https://chatgpt.com/backend-api/codex',
    expiresAtMs: exp * 1000,
    concurrency: 3,
    onlyClient: 'codex',
  })
  const later = Date.UTC(2037, 0, 1) / 1000
  const renew = subgate.with({ env: { TOKEN: accessToken({ exp: later }) } })
  t.match(await renew('account', 'set', 'chatgpt', '--from-env', 'TOKEN'), { code: 0 })
  t.match((await subgate('account', 'show', 'chatgpt', '--json')).json(), { expiresAtMs: later * 1000, concurrency: 3 })
  login.tokens.access_token = accessToken({ exp: later })
  const again = await imported(subgate, JSON.stringify(login))
  t.match(again.rows, [{ result: 'exists' }])

  const list = [
    {
      provider: 'openai',
      name: 'listed',
      access_token: accessToken({ exp: 'never', 'https://api.openai.com/auth': auth }),
    },
    { provider: 'openai', name: 'both', access_token: 'x', api_key: 'y' },
    { provider: 'openai', name: 'neither' },
    { provider: 'anthropic', name: 'other', access_token: accessToken({}) },
    { provider: 'openai', name: 'short', access_token: 'short' },
  ]
  t.match((await imported(subgate, JSON.stringify(list))).rows, [
    { name: 'listed', result: 'added' },
    { name: 'both', result: 'refused', detail: /either api_key or access_token/ },
    { name: 'neither', result: 'refused', detail: /either api_key or access_token/ },
    { name: 'other', result: 'refused', detail: /Anthropic accounts with an access token/ },
    { name: 'short', result: 'refused', detail: /16 to 8192/ },
  ])
  t.match((await subgate('account', 'show', 'listed', '--json')).json(), { expiresAtMs: null })
  t.match((await imported(subgate, '{"tokens":{"id_token":"x"}}')).rows, [
    { result: 'refused', detail: 'it has no access token' },
  ])
})

t.test('an account for one program, and shares of windows at which it pauses', async (t) => {
  const subgate = await initializedCli()
  const env = { KEY: secretKey() }
  const add = (...flags: string[]) =>
    subgate.with({ env })('account', 'add', 'anthropic', '--name', 'mine', '--from-env', 'KEY', ...flags)
  t.match(await add('--only-client', 'claude'), { code: 2, stderr: /Possible: claude-code, codex, gemini-cli/ })
  t.match(await add('--pause-at', '5d=90%'), {
    ...{ code: 1, stderr: /Anthropic has no window '5d'\n.*Its windows are 5h, 7d, / },
  })
  for (const wrong of ['5h', '5h=0%', '5h=101%', '5h=0.9', '=90%', '5h=90% 7d=80%']) {
    t.match(await add('--pause-at', wrong), { code: 2, stderr: /is not WINDOW=SHARE, such as 5h=90%/ })
  }
  const flags = [
    '--only-client',
    'claude-code',
    '--pause-at',
    '5h=90%',
    '--pause-at',
    '7d=62.5%',
    '--pause-at',
    '5h=80%',
  ]
  t.match(await add(...flags), { code: 0 })
  const show = async () => (await subgate('account', 'show', 'mine', '--json')).json()
  const pauseAt = [
    { window: '7d', used: 0.625 },
    { window: '5h', used: 0.8 },
  ]
  t.match(await show(), { onlyClient: 'claude-code', pauseAt })
  t.match((await subgate('account', 'list', '--json')).json(), [{ onlyClient: 'claude-code', pauseAt }])
  t.match(
    (await subgate('account', 'show', 'mine')).stdout,
    /only for +calls from claude-code\npauses at +62\.5% of 7d, 80% of 5h\n/,
  )

  const { config } = loadConfig({ env: { HOME: subgate.home }, cwd: subgate.home, terminal: false, flags: {} })
  {
    await using store = await openStore(config, 'command', {
      id: 'prs_test',
      clock: Date.now,
      log: pino({ level: 'silent' }),
    })
    const { id } = await store.accounts.find('mine')
    const window = { source: 'headers', sampledAtMs: Date.now() } as const
    const windows = [
      { ...window, name: '5h', lengthMs: 18_000_000, models: null, used: 0.85, resetAtMs: Date.now() + 9_000_000 },
      { ...window, name: '7d_fable', lengthMs: 604_800_000, models: [], used: 0.5, resetAtMs: Date.now() + 9_000_000 },
    ]
    await store.accounts.keepWindows({ samples: [{ id, windows }] })
  }
  const shown = (await subgate('account', 'show', 'mine')).stdout
  t.match(shown, /state +paused 2h ?(30m|29m)? ?.*\(85% of 5h\)/)
  t.match(shown, /weight +100, at the moment 2.7 by its windows\n/)
  t.match((await subgate('account', 'list')).stdout, /paused 2h.*\(85% of 5h\)/)
  const set = (...flags: string[]) => subgate('account', 'set', 'mine', ...flags)
  t.match(await set('--pause-at', '7d_fable=90%'), { code: 0 }, 'a window that it was told of is one')
  t.match(await set('--pause-at', '7d_opal=90%'), { code: 1, stderr: /no window '7d_opal'\n.*7d_fable/ })
  t.match(await show(), { pauseAt: [{ window: '7d_fable', used: 0.9 }] })
  await set('--pause-at', '7d_fable=50%')
  t.match((await subgate('account', 'list')).stdout, /paused 2h.*\(50% of 7d_fable\)/, 'whatever models it is for')
  t.match(await set('--pause-at', 'none', '--only-client', 'none'), { code: 0 })
  t.match(await show(), { onlyClient: null, pauseAt: [] })
  t.notMatch((await subgate('account', 'show', 'mine')).stdout, /only for|pauses at/)
})

t.test('import takes a Google login, and asks which project its calls belong to', async (t) => {
  await using upstream = await FakeUpstream.start()
  const home = await initializedCli()
  const subgate: Cli = Object.assign(home.with({ env: LOCAL }), {
    with: home.with,
    home: home.home,
    dataDir: home.dataDir,
  })
  const token = () => keepSecret(`ya29.${Math.random().toString(36).repeat(2)}`)
  const base_url = `${upstream.url}/v1internal`
  const antigravity = { provider: 'antigravity', base_url }
  const list = [
    { ...antigravity, name: 'asked', access_token: token() },
    { ...antigravity, name: 'told', access_token: token(), account_id: 'mine' },
  ]
  const { rows } = await imported(subgate, JSON.stringify(list), '--dry-run')
  t.match(rows, [{ result: 'added' }, { result: 'added' }])
  t.equal(upstream.seen.length, 0, 'nobody is asked for a trial')
  t.match((await imported(subgate, JSON.stringify(list))).rows, [{ result: 'added' }, { result: 'added' }])
  t.match(upstream.seen, [
    { path: '/v1internal:loadCodeAssist', headers: { authorization: `Bearer ${list[0]?.access_token}` } },
  ])
  t.match((await subgate('account', 'show', 'asked', '--json')).json(), { onlyClient: null, concurrency: 3 })
  upstream.seen.length = 0
  t.match((await subgate('account', 'test', 'asked', '--json')).json(), [{ result: 'works', models: 3 }])
  t.same(JSON.parse(upstream.seen[0]?.body ?? ''), { project: 'fake-project' })

  upstream.elsewhere({ body: '{}' })
  const nobody = [{ ...antigravity, name: 'new', access_token: token() }]
  t.match((await imported(subgate, JSON.stringify(nobody))).rows, [
    { result: 'refused', detail: /Google Antigravity does not tell what this login.* · Sign in once/ },
  ])
  upstream.elsewhere({
    status: 401,
    body: JSON.stringify({ error: { code: 401, status: 'UNAUTHENTICATED', message: 'expired' } }),
  })
  t.match((await imported(subgate, JSON.stringify(nobody))).rows, [{ result: 'refused', detail: /: expired/ }])
})

t.test('import reads what Gemini CLI keeps of a Google login', async (t) => {
  const subgate = await initializedCli()
  const login = {
    access_token: keepSecret('ya29.of-gemini-cli-and-nobody'),
    refresh_token: '1//x',
    expiry_date: 2_000_000_000_000,
  }
  t.match((await imported(subgate, JSON.stringify(login), '--dry-run')).rows, [
    { name: 'google', provider: 'gemini', result: 'added', detail: /without its refresh token/ },
  ])
})

t.test('Antigravity knows no API keys, and says what it takes instead', async (t) => {
  const subgate = (await initializedCli()).with({ env: { ...LOCAL, KEY: secretKey() } })
  const added = await subgate('account', 'add', 'antigravity', '--name', 'a', '--from-env', 'KEY')
  t.match(added, { code: 1, stderr: /Google Antigravity knows no API keys.*account import/s })
})

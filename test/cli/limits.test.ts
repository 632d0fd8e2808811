import t from 'tap'
import { initializedCli, newCli } from '../support/cli.ts'
import { messageRequest } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { keepSecret } from '../support/secrets.ts'

interface Shown {
  limits: { metric: string; window: string; limit: number; used: number | null; resetAtMs: number | null }[]
}

t.test('limits are set, changed and taken away on whatever has them', async (t) => {
  const subgate = await initializedCli()
  const email = 'ada@example.com'
  t.equal((await subgate('user', 'add', email, '--rpm', '60', '--tpm', '200k', '--limit', 'usd=5/day')).code, 0)
  t.equal((await subgate('group', 'add', 'pool', '--limit', 'usd=20/1d')).code, 0)
  const issued = await subgate('key', 'issue', email, '--name', 'k', '--limit', 'requests=60/1m', '--limit', 'usd=5/1d')
  keepSecret(issued.stdout.trim())
  const added = ['account', 'add', 'anthropic', '--name', 'work', '--api-key-stdin', '--limit', 'requests=1k/1h']
  t.equal((await subgate.with({ stdin: keepSecret('sk-ant-0123456789') })(...added)).code, 0)

  const limitsOf = async (noun: string, name: string) => {
    const { limits } = (await subgate(noun, 'show', name, '--json')).json<Shown & Record<string, unknown>>()
    return limits.map(({ metric, window, limit, used }) => `${metric}=${limit}/${window} ${used}`)
  }
  t.same(await limitsOf('user', email), ['usd=5000000000/day@UTC null', 'requests=60/1m null', 'tokens=200000/1m null'])
  for (const [noun, name, before] of [
    ['group', 'pool', ['usd=20000000000/1d null']],
    ['key', 'k', ['requests=60/1m null', 'usd=5000000000/1d null']],
    ['account', 'work', ['requests=1000/1h null']],
  ] as const) {
    t.same(await limitsOf(noun, name), before, noun)
    const changed = await subgate(
      noun,
      'set',
      name,
      '--limit',
      'tokens=1m/5h',
      '--limit',
      'usd=none',
      '--limit',
      'requests=none',
    )
    t.equal(changed.code, 0, changed.stderr)
    t.same(await limitsOf(noun, name), ['tokens=1000000/5h null'], noun)
    t.equal((await subgate(noun, 'set', name, '--limit', 'none')).code, 0)
    t.match(await subgate(noun, 'show', name), { stdout: /^limits +none$/m })
  }
  t.equal((await subgate('user', 'set', email, '--rpm', 'none', '--tpm', '5', '--concurrency', '3')).code, 0)
  t.same(await limitsOf('user', email), ['usd=5000000000/day@UTC null', 'tokens=5/1m null'])
  t.match((await subgate('user', 'show', email)).stdout, /^limits +usd per day@UTC: \$5\.00\n +tokens per 1m: 5$/m)
  for (const noun of ['key', 'user', 'group', 'account']) {
    t.notMatch((await subgate(noun, 'list')).stdout, /tokens|usd/i, 'lists stay short')
  }
})

t.test('a calendar limit without a time zone gets the configured one', async (t) => {
  const subgate = await initializedCli()
  const here = subgate.with({ env: { SUBGATE_DEFAULT_TIME_ZONE: 'Europe/Berlin' } })
  await here('group', 'set', 'default', '--limit', 'usd=5/month', '--limit', 'usd=1/day@UTC')
  const { limits } = (await subgate('group', 'show', 'default', '--json')).json<Shown & Record<string, unknown>>()
  t.same(
    limits.map(({ window }) => window),
    ['month@Europe/Berlin', 'day@UTC'],
  )
})

t.test('what is no limit is a usage error that says why, and changes nothing', async (t) => {
  const subgate = await initializedCli()
  for (const [flags, complaint] of [
    [['--limit', 'requests=abc/1m'], /'abc' is not a whole number such as 60/],
    [['--limit', 'request=5/1m'], /'request' is no metric\. Possible: requests, .*; did you mean requests\?/],
    [['--limit', 'requests=5/0s'], /a window of 0s is too short: 1s to 30d are possible/],
    [['--limit', 'requests=5/31d'], /a window of 31d is too long/],
    [['--limit', 'usd=5/month@Mars'], /'Mars' is no time zone/],
    [['--limit', 'requests=5'], /is not METRIC=N\/WINDOW, such as requests=60\/1m/],
    [Array.from({ length: 17 }, (_, n) => ['--limit', `requests=1/${n + 1}s`]).flat(), /that makes 17 limits, and 16/],
  ] as const) {
    for (const argv of [
      ['key', 'issue', 'admin@localhost', ...flags],
      ['user', 'add', 'new@example.com', ...flags],
      ['user', 'set', 'admin@localhost', ...flags],
      ['group', 'set', 'default', ...flags],
    ]) {
      t.match(await subgate(...argv), { code: 2, stdout: '', stderr: complaint }, argv.slice(0, 4).join(' '))
    }
  }
  t.match(await subgate('user', 'set', 'admin@localhost', '--rpm', 'many'), {
    code: 2,
    stderr: /'many' is not a whole/,
  })
  t.same((await subgate('key', 'list', '--json')).json(), [])
  t.same((await subgate('group', 'show', 'default', '--json')).json<Shown & Record<string, unknown>>().limits, [])
})

t.test('show tells what is used of a limit, as long as a gateway runs', async (t) => {
  const gw = await startGateway(t, {
    setUp: (site) => site.scene({ accounts: [{ name: 'work', scripts: [{ usage: { input: 100, output: 20 } }] }] }),
  })
  const { dataDir } = gw.site.config
  const cli = newCli()
  const subgate = (...argv: string[]) => cli(...argv, '--data-dir', dataDir)
  const { apiKey, user, group, key } = gw.scenes
  const names = { key: apiKey.id, user: user.email, group: group.name, account: 'work' }
  for (const [noun, name] of Object.entries(names)) {
    const flags = ['--limit', 'requests=5/1m', '--limit', 'tokens=1k/day', '--limit', 'usd=1/1h']
    t.equal((await subgate(noun, 'set', name, ...flags)).code, 0)
  }
  await gw.seen()
  t.equal((await gw.call({ key, body: messageRequest(false) })).status, 200)
  const [row] = await gw.settled()
  for (const [noun, name] of Object.entries(names)) {
    const { limits } = (await subgate(noun, 'show', name, '--json')).json<Shown & Record<string, unknown>>()
    t.same(
      limits.map(({ metric, used }) => [metric, used]),
      [
        ['requests', 1],
        ['tokens', 120],
        ['usd', row?.costNanoUsd],
      ],
      noun,
    )
    const { stdout } = await subgate(noun, 'show', name)
    t.match(stdout, /^limits +requests per 1m: 1 of 5, all back at \d{4}-/m)
    t.match(stdout, /^ +tokens per day@UTC: 120 of 1,000, all back at /m)
    t.match(stdout, /^ +usd per 1h: \$0\.\d+ of \$1\.00, all back at /m)
  }
})

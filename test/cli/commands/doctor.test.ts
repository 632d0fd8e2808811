import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FakeUpstream } from '../../../src/demo/fake-upstream.ts'
import type { Finding } from '../../../src/operations/doctor.ts'
import { type Cli, initializedCli, newCli } from '../../support/cli.ts'
import { RedisServer } from '../../support/redis.ts'
import { secretKey } from '../../support/secrets.ts'

const LOCAL = {
  SUBGATE_SECURITY_URL_ALLOWLIST_ENABLED: 'false',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP: 'true',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS: 'true',
}

/** What does not say ok, by the name of the check. */
async function complaints(subgate: Cli, ...more: string[]): Promise<{ code: number; found: Record<string, Finding> }> {
  const { code, json } = await subgate.with({ env: LOCAL })('doctor', '--json', ...more)
  const findings = json<Finding[]>().filter(({ result }) => result !== 'ok')
  return { code, found: Object.fromEntries(findings.map((finding) => [finding.check, finding])) }
}

t.test('a fresh set-up lacks only accounts and keys; a whole one is fine', async (t) => {
  await using upstream = await FakeUpstream.start()
  const subgate = await initializedCli()
  const fresh = await complaints(subgate)
  t.equal(fresh.code, 0)
  t.match(fresh.found, {
    accounts: { result: 'warning', remedy: 'subgate account add anthropic' },
    keys: { result: 'warning', remedy: 'subgate key issue USER' },
  })
  const local = subgate.with({ env: { ...LOCAL, KEY: secretKey() } })
  await local('account', 'add', 'anthropic', '--from-env', 'KEY', '--base-url', upstream.url)
  await local('key', 'issue', 'admin@localhost')
  t.same(await complaints(subgate), { code: 0, found: {} })
  t.equal(upstream.seen.filter(({ method }) => method === 'POST').length, 0, 'no call that is billed')
})

t.test('each finding has its remedy, and a failure its exit code', async (t) => {
  const subgate = await initializedCli()
  const local = subgate.with({ env: { ...LOCAL, KEY: secretKey() } })
  await local('account', 'add', 'anthropic', '--name', 'gone', '--from-env', 'KEY', '--base-url', 'http://127.0.0.1:1')
  await local('group', 'add', 'empty')
  await local('key', 'issue', 'admin@localhost', '--group', 'empty')
  chmodSync(join(subgate.dataDir, 'subgate.db'), 0o644)
  const { code, found } = await complaints(subgate)
  t.equal(code, 1)
  t.match(found, {
    'database file': { result: 'failed', remedy: /^chmod go-rwx .*subgate\.db$/ },
    groups: { result: 'failed', remedy: 'subgate group attach empty --account ACCOUNT' },
    'account gone': { result: 'failed', detail: /ECONNREFUSED/, remedy: /subgate account test gone/ },
  })
  // Allowed when it was added, and no longer.
  const refused = (await subgate('doctor', '--json')).json<Finding[]>().find(({ check }) => check === 'account gone')
  t.match(refused, {
    detail: /http; 127\.0\.0\.1 is a private address; the host 127\.0\.0\.1 is not on the allowlist$/,
    remedy:
      /^Set \S+allow_insecure_http: true .* Set \S+allow_private_hosts: true .* Add '127\.0\.0\.1' to \S+upstream_hosts\.$/,
  })
  t.notMatch((await complaints(subgate, '--offline')).found, { 'account gone': {} })
})

t.test('a master key that does not fit, and one that is missing', async (t) => {
  const subgate = await initializedCli()
  await subgate.with({ env: { KEY: secretKey() } })('account', 'add', 'anthropic', '--from-env', 'KEY')
  writeFileSync(join(subgate.dataDir, 'master.key'), `${Buffer.alloc(32, 7).toString('base64')}\n`)
  t.match(await complaints(subgate), {
    code: 1,
    found: { 'master key': { detail: /does not open/, remedy: /Restore/ } },
  })
  t.match(await subgate('account', 'test'), { code: 3, stderr: /sealed under another one/ })
})

t.test('before set-up it says what is missing instead of failing itself', async (t) => {
  const { code, found } = await complaints(newCli())
  t.equal(code, 1)
  t.match(found, { 'data directory': { remedy: /subgate init/ }, migrations: { remedy: /subgate init/ } })
})

t.test('simple mode beyond this machine has to be confirmed', async (t) => {
  const subgate = await initializedCli()
  const env = { SUBGATE_SERVER_HOST: '0.0.0.0' }
  const open = await subgate.with({ env })('doctor', '--offline')
  t.match(open, { code: 1, stdout: /✗ listening address: 0\.0\.0\.0:8080.*not confirmed\n.*SIMPLE_MODE_CONFIRM=true/s })
  const confirmed = await subgate.with({ env: { ...env, SUBGATE_SIMPLE_MODE_CONFIRM: 'true' } })('doctor', '--offline')
  t.match(confirmed, { code: 0, stdout: /! listening address/ })
})

t.test('vendors whose thoughts no other can read are better kept apart', async (t) => {
  const subgate = await initializedCli()
  const local = subgate.with({ env: { ...LOCAL, KEY: secretKey() } })
  await local('account', 'add', 'anthropic', '--name', 'own', '--from-env', 'KEY')
  const file = join(subgate.dataDir, 'list.json')
  const entry = { provider: 'antigravity', name: 'other', access_token: secretKey(), account_id: 'p' }
  writeFileSync(file, JSON.stringify([entry]))
  t.match(await local('account', 'import', '--file', file), { code: 0 })
  t.match((await complaints(subgate, '--offline')).found, {
    groups: { result: 'warning', detail: /serves Claude from .* and /, remedy: /group detach default/ },
  })
  await local('account', 'set', 'other', '--models', 'gemini-*')
  t.notMatch((await complaints(subgate, '--offline')).found, { groups: {} })
})

t.test('a Redis that forgets when its memory is full will not do, nor one in cluster mode or none', async (t) => {
  const subgate = await initializedCli()
  const found = async (url: string) => {
    const env = { ...LOCAL, SUBGATE_REDIS_URL: url }
    const { json } = await subgate.with({ env })('doctor', '--offline', '--json')
    return json<Finding[]>().find(({ check }) => check === 'redis')
  }
  await using redis = await RedisServer.start()
  await using cluster = await RedisServer.start('--cluster-enabled', 'yes')
  t.match(await found(redis.url), { result: 'ok', detail: /^\d+\.\d+\.\d+, noeviction$/ })
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  t.match(await found(redis.url), { result: 'failed', detail: /allkeys-lru/, remedy: /maxmemory-policy noeviction/ })
  t.match(await found(cluster.url), { result: 'failed', detail: /Cluster/, remedy: /Sentinel/ })
  t.match(await found('redis://127.0.0.1:1'), { result: 'failed', detail: /ECONNREFUSED/, remedy: /redis\.url/ })
})

import { existsSync, mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import manifest from '../../package.json' with { type: 'json' }
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import { newCli } from '../support/cli.ts'
import { databaseEnv, freePort, PostgresServerProcess } from '../support/postgres.ts'
import { RedisServer } from '../support/redis.ts'
import { secretKey } from '../support/secrets.ts'
import { Place, type Result, Running } from './place.ts'

// The binary alone, on a machine without Node, does what the run from source does.

/** Part of Debian's essential packages; elsewhere in util-linux. */
const SCRIPT = '/usr/bin/script'
const MODEL = 'claude-sonnet-4-5'
const ALLOW_FAKES = {
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP: 'true',
  SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS: 'true',
}

/** What a run printed; throws what it complained about if it did not succeed. */
function succeeded({ code, stdout, stderr }: Result): string {
  if (code !== 0) throw new Error(`it ended with ${code}: ${stderr}`)
  return stdout.trim()
}

async function call(url: string, key: string, stream: boolean): Promise<Response> {
  return fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'anthropic-version': '2023-06-01', 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL, max_tokens: 100, stream, messages: [{ role: 'user', content: 'hello' }] }),
  })
}

t.test('it says what it is, wherever it lies and whatever it is called', async (t) => {
  const place = await Place.make(t)
  const version = { code: 0, stdout: `subgate ${manifest.version}\n`, stderr: '' }
  t.same(await place.run(['--version']), version)
  symlinkSync(place.binary, join(place.temporary, 'link'))
  t.same(await place.run(['--version'], { program: join(place.temporary, 'link') }), version, 'through a link')
  renameSync(place.binary, join(place.folder, 'gateway'))
  t.same(await place.run(['--version'], { program: join(place.folder, 'gateway') }), version, 'by another name')
})

t.test('it has every command, flag and example that the run from source has', async (t) => {
  const place = await Place.make(t)
  const source = newCli()
  for (const words of [['--help'], ['completion', 'zsh'], ['serve', '--help'], ['config', 'keys', '--json']]) {
    const { code, stdout } = await place.run(words)
    t.equal(code, 0)
    t.equal(stdout, (await source(...words)).stdout, words.join(' '))
  }
  const { code, stdout, stderr } = await place.run(['sreve'])
  t.match({ code, stdout, stderr }, { code: 2, stdout: '', stderr: /serve/ })
  t.same(place.contents(place.home), [], 'none of that writes anything')
})

t.test('from nothing to counted calls', async (t) => {
  await using upstream = await FakeUpstream.start()
  const place = await Place.make(t, ALLOW_FAKES)
  const credential = secretKey()

  succeeded(await place.run(['init', '--yes']))
  const account = ['account', 'add', 'anthropic', '--name', 'main', '--base-url', upstream.url, '--allow-host']
  succeeded(await place.run([...account, '--api-key-stdin'], { input: credential }))
  succeeded(await place.run(['user', 'add', 'ada@example.com', '--name', 'Ada']))
  const key = succeeded(await place.run(['key', 'issue', 'ada@example.com']))
  t.match(key, /^sk-\S{20,}$/)

  const serve = new Running(t, place.start(place.binary, ['serve', '--listen', '127.0.0.1:0']))
  const [, url = ''] = await serve.says(/listens on (http:\S+)/)

  const streamed = await call(url, key, true)
  t.equal(streamed.status, 200)
  t.match(await streamed.text(), /event: message_start[\s\S]*event: message_stop/)
  const answered = await call(url, key, false)
  t.equal(answered.status, 200)
  t.match(await answered.json(), { type: 'message', role: 'assistant', usage: { output_tokens: Number } })
  t.equal((await call(url, 'sk-nobody-has-this-key', false)).status, 401)
  t.same(
    upstream.seen.map(({ headers }) => headers['x-api-key']),
    [credential, credential],
  )

  const report = await place.ask<{ rows: object[] }>('usage', 'report', '--by', 'user')
  t.match(report.rows, [{ name: 'ada@example.com', requests: 2, errors: 0 }])
  const id = answered.headers.get('x-subgate-call-id') ?? ''
  t.match(await place.run(['usage', 'show', id]), { code: 0, stdout: new RegExp(MODEL) })
  t.match(await place.run(['usage', 'verify']), { code: 0 })
  t.match(await place.run(['status']), { code: 0, stdout: new RegExp(manifest.version.replaceAll('.', '\\.')) })
  t.match(await place.run(['doctor', '--offline']), { code: 0 })
  t.match(await place.run(['completion', 'bash']), { code: 0, stdout: /complete .*subgate/ })

  t.equal(await serve.stop('SIGTERM'), 0)
  t.match(await place.run(['status']), { code: 3 }, 'nobody is there any more')
  t.match(await place.run(['usage', 'verify']), { code: 0 })
  t.same(place.contents(place.folder), ['subgate'], 'the binary has company of nothing')
  t.same(place.contents(place.temporary), [])
})

t.test('several processes serve from PostgreSQL and Redis', async (t) => {
  await using upstream = await FakeUpstream.start()
  await using postgres = await PostgresServerProcess.start()
  await using redis = await RedisServer.start()
  const database = databaseEnv(postgres.server(await postgres.makeDatabase('empty')))
  const place = await Place.make(t, { ...ALLOW_FAKES, ...database, SUBGATE_REDIS_URL: redis.url })
  succeeded(await place.run(['init', '--yes', '--mode', 'saas']))
  const account = ['account', 'add', 'anthropic', '--base-url', upstream.url, '--allow-host', '--api-key-stdin']
  succeeded(await place.run(account, { input: secretKey() }))
  succeeded(await place.run(['user', 'add', 'ada@example.com', '--balance', '5']))
  const key = succeeded(await place.run(['key', 'issue', 'ada@example.com']))
  const listen = `127.0.0.1:${await freePort()}`
  const serve = new Running(t, place.start(place.binary, ['serve', '--listen', listen, '--workers', '2']))
  const [, url = ''] = await serve.says(/listens on (http:[^\s"]+) .*with 2 processes/)
  t.equal((await call(url, key, true)).status, 200)
  t.equal((await place.ask<object[]>('status')).length, 2)
  t.match(await place.run(['doctor', '--offline']), { code: 0 })
  t.equal(await serve.stop('SIGTERM'), 0)
  t.match(await place.run(['usage', 'verify']), { code: 0 })
})

t.test('demo answers, and leaves nothing behind', async (t) => {
  const place = await Place.make(t)
  const demo = new Running(t, place.start(place.binary, ['demo', '--listen', '127.0.0.1:0', '--json']))
  const [json] = await demo.says(/^\{[\s\S]*?^\}/m)
  const { url, key } = JSON.parse(json) as { url: string; key: string }
  const answer = await call(url, key, true)
  t.equal(answer.status, 200)
  t.match(await answer.text(), /event: message_stop/)
  t.equal(await demo.stop('SIGINT'), 0)
  t.same(
    [place.folder, place.home, place.temporary].map((folder) => place.contents(folder)),
    [['subgate'], [], []],
  )
})

t.test(
  'the wizard sets up on a terminal',
  { skip: existsSync(SCRIPT) ? false : `${SCRIPT} is not there` },
  async (t) => {
    const place = await Place.make(t, { TERM: 'xterm-256color', SHELL: '/bin/sh' })
    // script(1) runs it on a terminal of its own and passes on what it is given.
    const wizard = new Running(t, place.start(SCRIPT, ['-qefc', `${place.binary} init`, '/dev/null']))
    const answers: [question: RegExp, keys: string][] = [
      [/Who will use it\?/, '\r'],
      [/Where shall it listen\?/, '\r'],
      [/The first user\?/, '\r'],
      [/An Anthropic API key/, secretKey()],
      [/•••/, '\r'],
    ]
    for (const [question, keys] of answers) {
      await wizard.says(question)
      wizard.child.stdin?.write(keys)
    }
    const [, key = ''] = await wizard.says(/ANTHROPIC_AUTH_TOKEN=["']?(sk-[\w-]+)/)
    t.equal(await wizard.exitCode(), 0)
    t.match(await place.ask('key', 'list'), [{ name: 'first' }])
    t.match(await place.ask('account', 'list'), [{ provider: 'anthropic' }])
    t.ok(key)
  },
)

t.test('first starts at once, and in odd places, find their addon', async (t) => {
  const place = await Place.make(t)
  succeeded(await place.run(['init', '--yes']))
  const list = (env: Record<string, string>) => place.run(['user', 'list', '--json'], { env })
  const cache = join(place.temporary, 'cache')
  mkdirSync(cache)
  const started = await Promise.all(Array.from({ length: 4 }, () => list({ XDG_CACHE_HOME: cache })))
  t.same(
    started.map(({ code, stderr }) => ({ code, stderr })),
    Array(4).fill({ code: 0, stderr: '' }),
  )
  t.match(place.contents(cache), ['subgate', /^subgate\/[0-9a-f]{16}-better_sqlite3\.node$/])
  t.equal(place.contents(cache).length, 2, 'nothing is left beside it')
  t.match(await list({ XDG_CACHE_HOME: '/dev/null' }), { code: 0, stderr: '' }, 'a home that cannot be written to')
  const nowhere = await list({ XDG_CACHE_HOME: '/dev/null', TMPDIR: '/dev/null' })
  t.match(nowhere, { code: 3, stdout: '', stderr: /XDG_CACHE_HOME/ })
})

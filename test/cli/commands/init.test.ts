import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { runCli } from '../../../src/cli/program.ts'
import { initializedCli, newCli } from '../../support/cli.ts'
import { keepSecret } from '../../support/secrets.ts'

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)

t.test('makes configuration, key, database, group and admin, for nobody else to read', async (t) => {
  const subgate = newCli()
  const { code, stdout, stderr } = await subgate(
    'init',
    '--yes',
    '--listen',
    '127.0.0.1:9999',
    '--admin-email',
    'me@example.com',
  )
  t.equal(code, 0)
  t.equal(stdout.match(/^made/gm)?.length, 5)
  t.match(stderr, /subgate key issue me@example\.com/)
  const config = join(subgate.home, '.config/subgate/config.yaml')
  t.match(readFileSync(config, 'utf8'), /run_mode: simple\nserver:\n {2}host: "127\.0\.0\.1"\n {2}port: 9999/)
  t.same(
    [config, subgate.dataDir, join(subgate.dataDir, 'master.key'), join(subgate.dataDir, 'subgate.db')].map(mode),
    ['600', '700', '600', '600'],
  )
  t.match((await subgate('user', 'list', '--json')).json(), [{ email: 'me@example.com', role: 'admin' }])
})

t.test('a second run overwrites nothing and says what exists', async (t) => {
  const subgate = await initializedCli()
  const key = join(subgate.dataDir, 'master.key')
  const before = readFileSync(key, 'utf8')
  const { code, stdout, stderr } = await subgate('init', '--yes', '--listen', '0.0.0.0:1')
  t.equal(code, 0)
  t.equal(stdout.match(/^exists/gm)?.length, 5)
  t.match(stderr, /Nothing was overwritten/)
  t.equal(readFileSync(key, 'utf8'), before)
  t.notMatch(readFileSync(join(subgate.home, '.config/subgate/config.yaml'), 'utf8'), /0\.0\.0\.0/)
})

t.test('config and data go where the flags say', async (t) => {
  const subgate = newCli()
  const config = join(subgate.home, 'a/b.yaml')
  const dataDir = join(subgate.home, 'data')
  const made = (
    await subgate('init', '--yes', '--mode', 'saas', '--config', config, '--data-dir', dataDir, '--json')
  ).json()
  t.match(made, { configFile: config, dataDir, configMade: true, databaseMade: true })
  t.match(readFileSync(config, 'utf8'), /run_mode: saas\ndata_dir: .*data"\nserver:\n {2}host: "0\.0\.0\.0"/)
  t.equal((await subgate('user', 'list', '--config', config)).code, 0, 'the file names its data directory')
})

t.test('a bad address is refused before anything is written', async (t) => {
  const subgate = newCli()
  for (const listen of ['nonsense', '1.2.3.4:99999', 'a b:1']) {
    t.match(await subgate('init', '--yes', '--listen', listen), { code: 2, stderr: /is not HOST:PORT/ })
  }
  t.throws(() => statSync(join(subgate.home, '.config')))
})

t.test('a configuration that cannot be read is no reason to write another', async (t) => {
  const subgate = newCli()
  writeFileSync(join(subgate.home, 'subgate.yaml'), 'nonsense: 1\n')
  t.match(await subgate('init', '--yes'), { code: 1, stderr: /unknown key nonsense/ })
})

/** A terminal of which a test is the person: it types when it sees what it waits for. */
function terminal(dialog: [sees: RegExp, types: string][]) {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode() {}, ref() {}, unref() {} })
  const screen = Object.assign(new PassThrough(), { isTTY: true, columns: 100, rows: 30 })
  const left = [...dialog]
  let seen = ''
  screen.on('data', (chunk: Buffer) => {
    seen += chunk.toString()
    const [next] = left
    if (!next?.[0].test(seen)) return
    left.shift()
    seen = ''
    setImmediate(() => stdin.write(next[1]))
  })
  return { stdin, screen, unanswered: () => left.length }
}

t.test('on a terminal a wizard asks, sets up, and hands out the first key', async (t) => {
  const subgate = newCli()
  const { stdin, screen, unanswered } = terminal([
    [/Who will use it/, '\r'],
    [/Where shall it listen/, '127.0.0.1:7777\r'],
    [/The first user/, 'not an address\r'],
    [/this is not an e-mail address/, '\u007f'.repeat(20)],
    [/❯ .*admin@localhost/s, 'me@example.com\r'],
    [/Use ANTHROPIC_API_KEY of this shell/, '\r'],
  ])
  const stdout = new PassThrough()
  const printed = stdout.toArray()
  const apiKey = keepSecret('sk-ant-api03-of-the-shell-0123456789')
  const env = { HOME: subgate.home, ANTHROPIC_API_KEY: apiKey }
  const code = await runCli(['init'], { stdin, stdout, stderr: screen, env, cwd: subgate.home })
  stdout.end()
  const out = Buffer.concat((await printed) as Buffer[]).toString()
  t.equal(code, 0)
  t.equal(unanswered(), 0, 'every question came')
  t.match(out, /^export ANTHROPIC_BASE_URL=http:\/\/127\.0\.0\.1:7777\nexport ANTHROPIC_AUTH_TOKEN=sk-/)
  keepSecret(/AUTH_TOKEN=(\S+)/.exec(out)?.[1] ?? '')
  t.match((await subgate('account', 'list', '--json')).json(), [{ provider: 'anthropic', last4: '6789' }])
  t.match((await subgate('key', 'list', '--json')).json(), [{ name: 'first', status: 'active' }])
})

t.test('Escape gives up, and nothing is written', async (t) => {
  const subgate = newCli()
  const { stdin, screen } = terminal([[/Who will use it/, '\u001b']])
  const io = { stdin, stdout: new PassThrough(), stderr: screen, env: { HOME: subgate.home }, cwd: subgate.home }
  t.equal(await runCli(['init'], io), 1)
  t.throws(() => statSync(join(subgate.home, '.config')))
})

t.test('what comes next names a configuration that is not found by itself', async (t) => {
  const subgate = newCli()
  const config = join(subgate.home, 'elsewhere.yaml')
  const { stderr } = await subgate('init', '--yes', '--config', config)
  for (const next of ['account import --from-env', 'key issue admin@localhost', 'serve']) {
    t.match(stderr, `subgate ${next} --config ${config}`)
  }
  t.notMatch((await newCli()('init', '--yes')).stderr, '--config')
})

t.test('a data directory that cannot be made is no bug', async (t) => {
  const subgate = newCli()
  const file = join(subgate.home, 'file')
  writeFileSync(file, '')
  const args = ['init', '--yes', '--data-dir']
  t.match(await subgate(...args, file), { code: 1, stderr: `error: ${file}: something else is there already\n` })
  t.match(await subgate(...args, join(file, 'x')), { code: 1, stderr: /: a part of the path is not a folder$/m })
  if (process.platform !== 'linux') return
  for (const place of [
    ['--config', '/proc/x/y.yaml'],
    ['--data-dir', '/proc/x/y'],
  ]) {
    const refused = await subgate('init', '--yes', ...place)
    t.match(refused, { code: 1, stderr: /^error: no folder can be made in \/proc$/m }, place.join(' '))
  }
})

t.test('SUBGATE_CONFIG names a file that is not there yet', async (t) => {
  const subgate = newCli()
  const config = join(subgate.home, 'named.yaml')
  const named = subgate.with({ env: { SUBGATE_CONFIG: config } })
  t.match((await named('init', '--yes', '--json')).json(), { configFile: config, configMade: true })
  t.match((await named('init', '--yes', '--json')).json(), { configFile: config, configMade: false })
  t.equal((await named('user', 'list')).code, 0)
})

t.test('a brought configuration is kept, and what has no meaning in it is said once', async (t) => {
  const subgate = newCli()
  const config = join(subgate.home, 'config.yaml')
  writeFileSync(config, 'server:\n  port: 8093\njwt:\n  expire_hour: 24\n', { mode: 0o600 })
  const { code, stdout, stderr } = await subgate('init', '--yes')
  t.match({ code, stdout }, { code: 0, stdout: `exists  configuration  ${config}\nmade    master key` })
  t.equal(stderr.match(/jwt has no meaning/g)?.length, 1)
  t.match(readFileSync(config, 'utf8'), /^server:\n {2}port: 8093\njwt/)
})

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newCli } from '../../support/cli.ts'
import { secretKey } from '../../support/secrets.ts'

t.test('show tells value and source of each key, secrets masked', async (t) => {
  const subgate = newCli()
  writeFileSync(join(subgate.home, 'subgate.yaml'), 'server:\n  port: 9000\n')
  const masterKey = secretKey('mk')
  const env = { SUBGATE_LOG_LEVEL: 'debug', SUBGATE_MASTER_KEY: masterKey }
  const result = await subgate.with({ env })('config', 'show', '--json', '--data-dir', '/data')
  const rows = result.json<{ key: string; value: string; source: string }[]>()
  t.same(Object.fromEntries(rows.map(({ key, value, source }) => [key, `${value} from ${source}`])), {
    data_dir: '/data from flag',
    master_key: '•••••• from environment',
    'server.port': '9000 from file',
    'log.level': 'debug from environment',
  })
  t.notOk((result.stdout + result.stderr).includes(masterKey))
  const all = (await subgate('config', 'show', '--defaults', '--json')).json<{ key: string; value: string }[]>()
  t.match(
    all.find(({ key }) => key === 'admin.socket'),
    { value: /admin\.sock$/ },
    'defaults that follow from others',
  )
})

t.test('check reports every problem at once, with file and line', async (t) => {
  const subgate = newCli()
  const file = join(subgate.home, 'bad.yaml')
  writeFileSync(file, 'server:\n  prot: 1\n  port: many\ngateway:\n  wait: soon\n')
  const { code, stderr } = await subgate('config', 'check', 'bad.yaml')
  t.equal(code, 1)
  t.match(stderr, /3 problems/)
  t.match(stderr, /bad\.yaml:2: unknown key server\.prot; did you mean server\.port\?/)
  t.match(stderr, /bad\.yaml:3: server\.port: 'many'/)
  t.match(stderr, /bad\.yaml:5: gateway\.wait: 'soon'/)
  writeFileSync(file, 'server:\n  port: 1\n')
  t.match(await subgate('config', 'check', file), { code: 0, stderr: /is fine/ })
  t.match(await subgate('config', 'check', 'missing.yaml'), { code: 1, stderr: /no such file/ })
})

t.test('a file that was named and is not there can be made, or another be named', async (t) => {
  const subgate = newCli()
  const file = join(subgate.home, 'missing.yaml')
  const remedy = `subgate init --config ${file} makes this file; or name another one (--config, SUBGATE_CONFIG).\n`
  const named = await subgate('user', 'list', '--config', 'missing.yaml')
  t.equal(named.stderr, `error: the configuration has 1 problem:\n  ${file}: no such file\n${remedy}`)
  t.match((await subgate.with({ env: { SUBGATE_CONFIG: file } })('status')).stderr, remedy)
  t.equal((await subgate('init', '--yes', '--config', file)).code, 0)
  t.equal((await subgate('user', 'list', '--config', 'missing.yaml')).code, 0)
})

t.test('keys lists what can be set', async (t) => {
  const rows = (await newCli()('config', 'keys', '--json')).json<
    { key: string; environment: string[]; help: string }[]
  >()
  t.match(
    rows.find(({ key }) => key === 'server.port'),
    {
      type: '0–65535',
      default: 8080,
      environment: ['SUBGATE_SERVER_PORT', 'SERVER_PORT'],
      help: /port/,
    },
  )
  t.ok(rows.every(({ help }) => help.length > 5))
})

import { readFileSync } from 'node:fs'
import t from 'tap'
import { configExample } from '../../scripts/config-example.ts'
import { configKeys, isCidr, networks } from '../../src/config/schema.ts'
import { load, problems, write } from './files.ts'

const keys = configKeys()
const EXAMPLE = new URL('../../config.example.yaml', import.meta.url)

t.test('every key says what it is for, and its default is a value that it takes', async (t) => {
  const lacking = keys.filter(({ help, type, default: fallback, schema }) => {
    return (
      help.length < 10 ||
      !help.endsWith('.') ||
      type === '' ||
      (fallback !== null && !schema.safeParse(fallback).success)
    )
  })
  t.same(
    lacking.map(({ path }) => path),
    [],
  )
  const silent = keys.filter(
    ({ default: fallback, help, secret }) => fallback === null && !secret && !help.includes('Default: '),
  )
  t.same(
    silent.map(({ path }) => path),
    [],
    'where there is no fixed default, the help says what happens',
  )
})

t.test('no two keys share a name', async (t) => {
  const names = keys.flatMap(({ env, legacyEnv }) => [env, ...(legacyEnv ?? [])])
  t.equal(new Set(names).size, names.length)
  t.equal(new Set(keys.map(({ path }) => path)).size, keys.length)
  t.ok(keys.every(({ path, env }) => env === `SUBGATE_${path.replaceAll('.', '_').toUpperCase()}`))
})

t.test('the unprefixed names are those of the Sub2API documentation', async (t) => {
  t.same(
    keys.flatMap(({ legacyEnv }) => legacyEnv ?? []),
    [
      'RUN_MODE',
      'SIMPLE_MODE_CONFIRM',
      'SERVER_HOST',
      'SERVER_PORT',
      'SERVER_MODE',
      'DATABASE_URL',
      'DATABASE_HOST',
      'DATABASE_PORT',
      'DATABASE_USER',
      'DATABASE_PASSWORD',
      'POSTGRES_PASSWORD',
      'DATABASE_DBNAME',
      'DATABASE_SSLMODE',
      'SECURITY_URL_ALLOWLIST_ENABLED',
      'SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP',
      'SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS',
      'REDIS_URL',
      'REDIS_HOST',
      'REDIS_PORT',
      'REDIS_PASSWORD',
      'REDIS_DB',
      'REDIS_ENABLE_TLS',
    ],
  )
})

t.test('the example file is what the schema says', async (t) => {
  t.equal(readFileSync(EXAMPLE, 'utf8'), configExample(), 'if not: npm run config-example')
})

t.test('the example file loads as it is, and with every line of it in force', async (t) => {
  const home = t.testdir()
  const example = configExample()
  const { config, warnings } = load(home, { file: write(home, 'example.yaml', example) })
  t.same(config, load(home).config)
  t.same(warnings, [])
  const uncommented = example.replaceAll(/^( *)# ([a-z_]+:(?: .*)?)$/gm, (line, indent, setting) =>
    keys.some(({ path }) => path.split('.').at(-1) === setting.split(':')[0]) ? indent + setting : line,
  )
  const all = write(home, 'all.yaml', uncommented)
  t.same(problems(home, { file: all }), [])
  const inForce = load(home, { file: all })
  t.same(inForce.config, config, 'the defaults that it shows are the defaults')
  t.same(
    inForce.keys.filter(({ source, key }) => source !== 'file' && key.default !== null).map(({ key }) => key.path),
    [],
  )
})

t.test('rules for errors take single values and lists, and say what is wrong with them', async (t) => {
  const home = t.testdir()
  const rules = (yaml: string) => {
    write(home, 'subgate.yaml', `error_rules:\n${yaml}`)
    return problems(home)
  }
  t.same(
    rules(`  - { when: { provider: anthropic, status: 400, keywords: [too long, "too many"] }, answer: { status: 503 } }
  - { when: { status: [500, 529] }, answer: { message: Come back later. } }
`),
    [],
  )
  t.same(load(home).config.errorRules, [
    {
      ...{ provider: 'anthropic', statuses: [400], keywords: ['too long', 'too many'] },
      answer: { status: 503, message: null },
    },
    { provider: null, statuses: [500, 529], keywords: [], answer: { status: null, message: 'Come back later.' } },
  ])
  const wrong = [
    ['{ when: {}, answer: { status: 503 } }', /when must name a provider, a status or keywords/],
    ['{ when: { status: 400 }, answer: {} }', /answer must give a status or a message/],
    ['{ when: { status: 400 }, answer: { status: 200 } }', /1\.answer\.status: /],
    ['{ when: { provider: nobody }, answer: { status: 503 } }', /1\.when\.provider: /],
    ['{ when: { state: 400 }, answer: { status: 503 } }', /1\.when: Unrecognized key: "state"/],
    ['{ when: { status: 400 } }', /1\.answer: /],
  ] as const
  for (const [rule, complaint] of wrong) t.match(rules(`  - ${rule}\n`)[0], complaint)
})

t.test('addresses and networks', async (t) => {
  t.same(['10.0.0.0/8', '127.0.0.1', '::1', 'fe80::/10', '0.0.0.0/0', '::/0'].map(isCidr), Array(6).fill(true))
  const wrong = [
    '',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0.0/8x',
    '10.0.0',
    'localhost',
    '10.0.0.0/1e1',
  ]
  t.same(wrong.filter(isCidr), [])
  const set = networks(['10.0.0.0/8', '192.168.1.7', 'fd00::/8'])
  const checked: [string, 'ipv4' | 'ipv6', boolean][] = [
    ['10.255.255.255', 'ipv4', true],
    ['11.0.0.0', 'ipv4', false],
    ['192.168.1.7', 'ipv4', true],
    ['192.168.1.8', 'ipv4', false],
    ['::ffff:10.0.0.1', 'ipv6', true],
    ['fd12::1', 'ipv6', true],
    ['fe80::1', 'ipv6', false],
  ]
  t.same(
    checked.map(([address, family]) => set.check(address, family)),
    checked.map(([, , is]) => is),
  )
})

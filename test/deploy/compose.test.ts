import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import manifest from '../../package.json' with { type: 'json' }
import { loadConfig } from '../../src/config/load.ts'
import { configKeys } from '../../src/config/schema.ts'
import { parseDuration } from '../../src/lib/duration.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Service {
  image: string
  build?: unknown
  user?: string
  read_only?: boolean
  restart: string
  ports?: string[]
  networks: string[]
  command?: string[]
  environment: Record<string, string>
  secrets: string[]
  volumes: string[]
  depends_on?: Record<string, { condition: string }>
  healthcheck: { test: string[] }
  stop_grace_period: string
}

interface Compose {
  name: string
  services: Record<'gateway' | 'postgres' | 'redis', Service>
  networks: Record<string, { internal?: boolean }>
  secrets: Record<string, { file: string }>
  volumes?: Record<string, unknown>
}

const FILES = { volumes: 'deploy/docker-compose.yml', folders: 'deploy/docker-compose.local.yml' }
const composeOf = (path: string) => parse(read(path)) as Compose

/** The settings of Redis, where the configuration does not have them yet: they are set beforehand, and mean nothing. */
const AHEAD = configKeys().some(({ path }) => path.startsWith('redis.')) ? null : /^SUBGATE_REDIS_/

for (const path of Object.values(FILES)) {
  t.test(path, async (t) => {
    const { name, services, networks, secrets } = composeOf(path)
    const { gateway, postgres, redis } = services

    t.match(name, /^[a-z0-9][a-z0-9_-]*$/, 'the project has a name of its own')
    t.same([postgres.ports, redis.ports], [undefined, undefined], 'the databases are not published')
    t.same([postgres.networks, redis.networks], [['store'], ['store']])
    t.equal(networks.store?.internal, true)
    t.same(
      gateway.ports,
      [`\${BIND_ADDRESS:-127.0.0.1}:\${GATEWAY_PORT:-8080}:8080`],
      'and the gateway to this machine only',
    )

    t.match(gateway.healthcheck.test.join(' '), /GET \/ready .* = 200/)
    t.match(postgres.healthcheck.test.join(' '), /pg_isready --host=127\.0\.0\.1 --username=subgate --dbname=subgate/)
    t.match(redis.healthcheck.test.join(' '), /redis-cli ping/)
    t.same(gateway.depends_on, { postgres: { condition: 'service_healthy' }, redis: { condition: 'service_healthy' } })

    const grace = configKeys().find((key) => key.path === 'gateway.shutdown_grace')?.default as string
    t.ok(ms(gateway.stop_grace_period) >= ms(grace) + 20_000, 'running calls may end, and be recorded')

    t.match(redis.command?.join(' '), /--appendonly yes --maxmemory-policy noeviction/)
    t.ok(redis.volumes.some((volume) => volume.endsWith(':/data')))
    t.ok(postgres.volumes.some((volume) => volume.endsWith(':/var/lib/postgresql/data')))
    t.equal(gateway.read_only, true)
    t.match(gateway.user, /SUBGATE_UID:\?/, 'the gateway does not run as root')

    for (const [service, { environment, secrets: used, restart, image }] of Object.entries(services)) {
      t.equal(restart, 'unless-stopped')
      t.match(image, /:[^:]*[\d.]*[^:]*\}$/, `${service} has a version that can be set`)
      for (const [variable, value] of Object.entries(environment)) {
        if (!/PASSWORD|KEY|SECRET/.test(variable)) continue
        t.match(variable, /_FILE$/, 'secrets are in files')
        t.ok(
          used.some((secret) => value === `/run/secrets/${secret}`),
          `${variable} names a secret that is there`,
        )
      }
      for (const secret of used) t.equal(secrets[secret]?.file, `./secrets/${secret}`)
    }
  })

  t.test(`${path} and the configuration`, async (t) => {
    const { environment } = composeOf(path).services.gateway
    const known = new Set(configKeys().flatMap((key) => [key.env, ...(key.secret ? [`${key.env}_FILE`] : [])]))
    const ours = Object.keys(environment).filter((name) => name.startsWith('SUBGATE_') && !AHEAD?.test(name))
    t.same(
      ours.filter((name) => !known.has(name)),
      [],
      'every variable is a setting',
    )

    const here = Object.fromEntries(
      ours.filter((name) => !name.endsWith('PASSWORD_FILE')).map((name) => [name, filled(environment[name] ?? '', {})]),
    )
    const { config, warnings } = loadConfig({ env: { ...here, HOME: '/none' }, cwd: '/none', terminal: false })
    t.same(warnings, [])
    t.match(config, {
      runMode: 'saas',
      masterKeyFile: '/run/secrets/master_key',
      server: { host: '0.0.0.0', port: 8080, trustedProxies: [] },
      database: { server: { host: 'postgres', port: 5432, user: 'subgate', dbname: 'subgate' } },
    })
  })

  t.test(`${path} leaves open what .env.example explains`, async (t) => {
    const asked = new Set(Array.from(read(path).matchAll(/(?<!\$)\$\{([A-Z_]+)/g), ([, name]) => name))
    const explained = Array.from(read('deploy/.env.example').matchAll(/^([A-Z_]+)=/gm), ([, name]) => name)
    t.same([...asked].sort(), explained.sort())
    const defaults = Object.fromEntries(
      Array.from(read(path).matchAll(/\$\{([A-Z_]+):-([^}]*)\}/g), ([, name, value]) => [name, value]),
    )
    const written = Object.fromEntries(
      Array.from(read('deploy/.env.example').matchAll(/^([A-Z_]+)=(.*)$/gm), ([, name, value]) => [name, value]),
    )
    t.match(written, defaults, 'with the same defaults')
  })
}

t.test('the two files differ in where data is, and never share it', async (t) => {
  const [volumes, folders] = [composeOf(FILES.volumes), composeOf(FILES.folders)]
  t.not(volumes.name, folders.name)
  const places = ({ services }: Compose) => Object.values(services).flatMap((service) => service.volumes)
  t.same(places(volumes), [
    'gateway-data:/var/lib/subgate',
    'postgres-data:/var/lib/postgresql/data',
    'redis-data:/data',
  ])
  t.same(Object.keys(volumes.volumes ?? {}), ['gateway-data', 'postgres-data', 'redis-data'])
  t.same(places(folders), [
    './data/gateway:/var/lib/subgate',
    './data/postgres:/var/lib/postgresql/data',
    './data/redis:/data',
  ])
  const rest = ({ services, networks, secrets }: Compose) => ({
    networks,
    secrets,
    services: Object.values(services).map((service) => ({ ...service, volumes: null })),
  })
  t.same(rest(volumes), rest(folders))
})

t.test('the image is built by the runtime that the program is made for, from what it needs', async (t) => {
  const dockerfile = read('Dockerfile')
  t.match(dockerfile, `FROM node:${manifest.subgate.runtime}-`)
  t.match(dockerfile, /^USER (?!0|root)\d+:\d+$/m)
  const [, dataDir] = /SUBGATE_DATA_DIR=(\S+)/.exec(dockerfile) ?? []
  t.match(dataDir, /^\/var\/lib\/subgate\//, 'data is in the volume')
  const sent = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  for (const needed of ['package.json', 'package-lock.json', 'scripts', 'src', 'migrations'])
    t.ok(sent.includes(needed), needed)
  t.notOk(
    sent.some((name) => /deploy|node_modules|\.git/.test(name)),
    'and no secret',
  )
})

t.test('the reverse proxy holds no stream back', async (t) => {
  const caddyfile = read('deploy/Caddyfile')
  const directives = caddyfile.replace(/#.*/g, '')
  t.match(directives, /reverse_proxy /)
  t.notMatch(directives, /flush_interval|timeout/, 'streams are flushed by themselves, and clients that leave are seen')
  const limit = configKeys().find((key) => key.path === 'server.max_request_body_size')?.default
  t.match(caddyfile, `max_size ${limit}`)
})

/** A value of a compose file where the environment says nothing else. */
function filled(value: string, env: Record<string, string>): string {
  return value.replace(/\$\{([A-Z_]+):-([^}]*)\}/g, (_, name: string, fallback: string) => env[name] ?? fallback)
}

function ms(duration: string): number {
  return parseDuration(duration) ?? Number.NaN
}

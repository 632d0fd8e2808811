import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import pg from 'pg'
import { pino } from 'pino'
import type { DatabaseConfig } from '../../src/config/load.ts'
import type { PostgresServer } from '../../src/config/postgres-server.ts'
import { migrateUp } from '../../src/store/migrate.ts'
import { connectPostgresForMigration, openPostgres } from '../../src/store/postgres.ts'
import { databaseOn, newPool } from '../../src/store/postgres-connection.ts'
import { pgbouncerProgram, postgresPrograms } from './postgres-programs.ts'
import { keepSecret } from './secrets.ts'
import { type WorldMaker, world } from './store.ts'

const USER = 'subgate'
/** Nothing may print it. */
const PASSWORD = keepSecret('pg-password-of-the-tests')
/** A database that others are copied from: quicker than a migration each. */
const TEMPLATE = 'migrated'
/** Linux's file system in memory. */
const MEMORY = '/dev/shm'

function programs(): string {
  const folder = postgresPrograms()
  if (folder !== null) return folder
  throw new Error('these tests need PostgreSQL: apt-get install postgresql')
}

/** PostgreSQL and PgBouncer refuse to run as root. */
const asPostgres: { uid?: number; gid?: number } = process.getuid?.() === 0 ? accountOf('postgres') : {}

function accountOf(user: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

function privateFolder(name: string, where: string): string {
  const folder = mkdtempSync(join(where, name))
  const { uid, gid } = asPostgres
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
  chmodSync(folder, 0o700)
  return folder
}

function memory(): string {
  return existsSync(MEMORY) ? MEMORY : tmpdir()
}

/** A program that is stopped by its own process id. */
async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill(signal)
  await once(child, 'exit')
}

/** A PostgreSQL of the test's own: a free port, data that is gone with it. */
export class PostgresServerProcess implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  readonly #durable: boolean
  #child: ChildProcess | null = null
  #databases = 0
  #template: Promise<void> | null = null

  private constructor(port: number, folder: string, durable: boolean) {
    this.port = port
    this.#folder = folder
    this.#durable = durable
  }

  /** `durable`: on a disk, with fsync, for tests that kill it. */
  static async start(options: { durable?: boolean } = {}): Promise<PostgresServerProcess> {
    const { durable = false } = options
    const folder = privateFolder('subgate-pg-', durable ? tmpdir() : memory())
    const passwordFile = join(folder, 'password')
    writeFileSync(passwordFile, PASSWORD)
    const flags = ['-D', join(folder, 'data'), '-U', USER, '-E', 'UTF8', '--locale=C', '--no-sync']
    execFileSync(join(programs(), 'initdb'), [...flags, '--auth=scram-sha-256', `--pwfile=${passwordFile}`], {
      ...asPostgres,
      cwd: folder,
      stdio: 'pipe',
    })
    const server = new PostgresServerProcess(await freePort(), folder, durable)
    await server.up()
    return server
  }

  get dataDir(): string {
    return join(this.#folder, 'data')
  }

  /** Copies a file to where the server can read it, and nobody else. Returns its path. */
  give(file: string): string {
    const copy = join(this.#folder, basename(file))
    copyFileSync(file, copy)
    const { uid, gid } = asPostgres
    if (uid !== undefined && gid !== undefined) chownSync(copy, uid, gid)
    chmodSync(copy, 0o600)
    return copy
  }

  /** Starts the server, and waits until it answers. */
  async up(settings: Record<string, string> = {}): Promise<void> {
    const all = {
      listen_addresses: '127.0.0.1, 127.0.0.2',
      port: String(this.port),
      unix_socket_directories: this.#folder,
      fsync: this.#durable ? 'on' : 'off',
      shared_buffers: '32MB',
      max_connections: '100',
      ...settings,
    }
    const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const child = spawn(join(programs(), 'postgres'), ['-D', this.dataDir, ...flags], {
      ...asPostgres,
      cwd: this.#folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    const kill = () => child.kill('SIGQUIT') // a test that fails badly does not leave it behind
    process.on('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    let said = ''
    child.stderr?.on('data', (text) => {
      said = (said + text).slice(-4000)
    })
    for (;;) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start: ${said}`)
      const isUp = await this.query('postgres', 'select 1').catch(() => null)
      if (isUp) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** `immediate`: as if the machine had lost its power, but for what the system has not written yet. */
  async down(how: 'fast' | 'immediate'): Promise<void> {
    if (this.#child) await stop(this.#child, how === 'fast' ? 'SIGINT' : 'SIGQUIT')
  }

  server(dbname: string): PostgresServer {
    const login = { user: USER, password: PASSWORD, sslMode: 'disable' as const, caFile: null }
    return { host: '127.0.0.1', port: this.port, dbname, ...login }
  }

  async query<Row extends object>(dbname: string, text: string): Promise<Row[]> {
    const { host, port, user, password, dbname: database } = this.server(dbname)
    const client = new pg.Client({ host, port, user, database, password: password ?? '' })
    client.on('error', () => {})
    try {
      await client.connect()
      return (await client.query<Row>(text)).rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** A database of its own, migrated or empty. */
  async makeDatabase(how: 'migrated' | 'empty' = 'migrated'): Promise<string> {
    if (how === 'migrated') {
      this.#template ??= this.#makeTemplate()
      await this.#template
    }
    const name = `test_${++this.#databases}`
    await this.query('postgres', `create database ${name}${how === 'migrated' ? ` template ${TEMPLATE}` : ''}`)
    return name
  }

  async #makeTemplate(): Promise<void> {
    await this.query('postgres', `create database ${TEMPLATE}`)
    await using database = await connectPostgresForMigration(databaseConfig(this.server(TEMPLATE)))
    await migrateUp(database)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down('fast')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A PgBouncer in transaction mode before a server. */
export class PgBouncerProcess implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  readonly #child: ChildProcess

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port
    this.#folder = folder
    this.#child = child
  }

  static async start(server: PostgresServerProcess, poolSize = 8): Promise<PgBouncerProcess> {
    const program = pgbouncerProgram()
    if (program === null) throw new Error('these tests need PgBouncer: apt-get install pgbouncer')
    const folder = privateFolder('subgate-pgbouncer-', memory())
    const port = await freePort()
    writeFileSync(join(folder, 'users.txt'), `"${USER}" "${PASSWORD}"\n`)
    writeFileSync(
      join(folder, 'pgbouncer.ini'),
      `[databases]
* = host=127.0.0.1 port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(folder, 'users.txt')}
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 200
`,
    )
    const child = spawn(program, [join(folder, 'pgbouncer.ini')], { ...asPostgres, cwd: folder, stdio: 'ignore' })
    const bouncer = new PgBouncerProcess(port, folder, child)
    await server.query('postgres', 'select 1')
    for (;;) {
      if (child.exitCode !== null) throw new Error('PgBouncer did not start')
      const { host, user, password } = server.server('postgres')
      const client = new pg.Client({ host, port, user, database: 'postgres', password: password ?? '' })
      client.on('error', () => {})
      const isUp = await client.connect().then(
        () => true,
        () => false,
      )
      await client.end().catch(() => {})
      if (isUp) return bouncer
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child, 'SIGTERM') // at once
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** The server as environment variables name it, to be told to a process. */
export function databaseEnv({ host, port, user, password, dbname, sslMode }: PostgresServer): Record<string, string> {
  return {
    SUBGATE_DATABASE_HOST: host,
    SUBGATE_DATABASE_PORT: String(port),
    SUBGATE_DATABASE_USER: user,
    SUBGATE_DATABASE_PASSWORD: password ?? '',
    SUBGATE_DATABASE_DBNAME: dbname,
    SUBGATE_DATABASE_SSLMODE: sslMode,
  }
}

/** A configuration with short times. */
export function databaseConfig(server: PostgresServer, changes: Partial<DatabaseConfig> = {}): DatabaseConfig {
  const times = { connectTimeoutMs: 2000, statementTimeoutMs: 5000, lockTimeoutMs: 2000 }
  return { server, direct: server, poolSize: 8, ...times, ...changes }
}

/** Worlds on one server, each in a database of its own; through a pooler where there is one. */
export function postgresWorlds(server: PostgresServerProcess, bouncer?: PgBouncerProcess): WorldMaker {
  return {
    name: bouncer ? 'PostgreSQL through PgBouncer' : 'PostgreSQL',
    async make() {
      const direct = server.server(await server.makeDatabase())
      const through = bouncer ? { ...direct, port: bouncer.port } : direct
      const config = databaseConfig(through, { direct })
      const pool = newPool(direct, false, { size: 2, connectTimeoutMs: 2000 })
      return world({
        database: databaseOn(pool, direct, 'write', { statementTimeoutMs: null, lockTimeoutMs: 2000 }),
        openDriver: () => openPostgres(config, 'daemon', { log: pino({ level: 'silent' }) }),
        close: () => pool.end(),
      })
    },
  }
}

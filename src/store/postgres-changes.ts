import type pg from 'pg'
import { type PostgresServer, serverName } from '../config/postgres-server.ts'
import type { Logger } from '../lib/log.ts'
import { agreedTls, newClient } from './postgres-connection.ts'
import { CHANGES_CHANNEL } from './queries/changes.ts'

/** How often changes are looked for while PostgreSQL tells of them: what it tells may be lost. */
const LISTENING_POLL_MS = 5000
/** … and while it cannot. */
const DEAF_POLL_MS = 500
/** How long the connection may take to answer before it counts as dead. */
const PING_MS = 2000
/** How soon a new connection is tried after one that broke or could not be had; twice as long each time. */
const RECONNECT_MS = 250
const RECONNECT_MS_MAX = 5000

/**
 * Says when to look for changes: at once when PostgreSQL notifies of one, by one connection that it keeps, and after each
 * gap in that; else by the clock. Through a pooler in transaction mode nothing is heard, which it notices.
 */
export class ChangeListener implements AsyncDisposable {
  readonly #server: PostgresServer
  readonly #connectTimeoutMs: number
  readonly #log: Logger
  readonly #random: () => number
  readonly #looks = new Set<() => void>()
  #client: pg.Client | null = null
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #nextConnectMs = 0
  #isPooled = false
  #closing = false
  #turn: Promise<void> | null = null

  constructor(server: PostgresServer, options: { connectTimeoutMs: number; log: Logger; random: () => number }) {
    this.#server = server
    this.#connectTimeoutMs = options.connectTimeoutMs
    this.#log = options.log
    this.#random = options.random
  }

  /** Calls `look` whenever there may be something to see. Returns the way to stop. */
  wake(look: () => void): () => void {
    this.#looks.add(look)
    if (this.#looks.size === 1) this.#soon(0)
    return () => {
      this.#looks.delete(look)
    }
  }

  #soon(afterMs: number): void {
    clearTimeout(this.#timer)
    if (!this.#closing && this.#looks.size > 0) this.#timer = setTimeout(() => this.#next(), afterMs)
  }

  /** One turn of the clock: sees to the connection, and looks. */
  #next(): void {
    this.#turn ??= (this.#client ? this.#ping(this.#client) : this.#connect()).then(() => {
      this.#turn = null
      this.#lookAll()
      this.#soon(this.#client ? LISTENING_POLL_MS : DEAF_POLL_MS)
    })
  }

  #lookAll(): void {
    for (const look of this.#looks) look()
  }

  async #connect(): Promise<void> {
    if (this.#isPooled || performance.now() < this.#nextConnectMs) return
    let client: pg.Client | null = null
    try {
      client = newClient(this.#server, await agreedTls(this.#server, this.#connectTimeoutMs), this.#connectTimeoutMs)
      await client.connect()
      if (await isPooled(client)) return await this.#hearsNothing(client)
      client.on('notification', () => this.#lookAll())
      await client.query(`listen ${CHANGES_CHANNEL}`)
      const heard = client
      client.once('end', () => this.#broke(heard))
      this.#client = client
      this.#failures = 0
    } catch (error) {
      await client?.end().catch(() => {})
      this.#failed((error as Error).message)
    }
  }

  /** The first broken connection is replaced at once. */
  #broke(client: pg.Client): void {
    if (this.#client !== client || this.#closing) return
    this.#client = null
    this.#failed('the connection ended')
    this.#soon(0)
  }

  #failed(reason: string): void {
    const pauseMs = Math.min(RECONNECT_MS * 2 ** this.#failures, RECONNECT_MS_MAX) * (0.5 + this.#random())
    this.#nextConnectMs = performance.now() + pauseMs
    this.#failures++
    this.#log.debug({ reason }, 'no notifications from PostgreSQL for now; changes are looked for')
  }

  async #hearsNothing(client: pg.Client): Promise<void> {
    this.#isPooled = true
    await client.end()
    this.#log.warn(
      { server: serverName(this.#server) },
      'a pooler stands before PostgreSQL, so changes are looked for twice a second; database.direct_url would tell of them at once',
    )
  }

  /** A connection whose other side has gone without a word is found out here. */
  async #ping(client: pg.Client): Promise<void> {
    const silence = setTimeout(() => this.#giveUp(client), PING_MS)
    await client.query('select 1').catch(() => this.#giveUp(client))
    clearTimeout(silence)
  }

  #giveUp(client: pg.Client): void {
    client.end().catch(() => {}) // with a statement under way it ends the socket at once
    this.#broke(client)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    clearTimeout(this.#timer)
    await this.#turn
    await this.#client?.end()
  }
}

/** A pooler gives each client a number of its own in the place of the server process's. */
export async function isPooled(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0]?.pid !== (client as unknown as { processID: number }).processID
}

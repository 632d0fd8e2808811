import { rmSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { dirname } from 'node:path'
import { pausingForAll, usedPercent, type VendorWindow } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Limited, LimitStanding, LimitSubject } from '../domain/limit.ts'
import { isUsable } from '../gateway/directory.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { standingsOf } from '../gateway/limits.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { privateFolder } from '../lib/private-folder.ts'
import type { WhichBindings } from '../live/live-state.ts'
import type { Spilled } from '../store/store.ts'

/** What `status` shows of a running daemon. */
export interface DaemonStatus {
  version: string
  pid: number
  /** As admissions, log lines and others name it. */
  processId: string
  runMode: 'simple' | 'saas'
  startedAtMs: number
  listening: string
  draining: boolean
  callsRunning: number
  callsWaiting: number
  bufferedBytes: number
  billingGuard: 'closed' | 'open' | 'half_open'
  spilled: Spilled
  rssBytes: number
  accounts: {
    id: string
    name: string
    status: string
    usable: boolean
    restUntilMs: number | null
    reason: string | null
    /** By name, as of now: the store knows them a few seconds late. */
    windows: readonly VendorWindow[]
  }[]
  /** What leaves no usage row: refusals and free calls since the start. */
  counters: Record<string, number>
}

type Facts = Pick<DaemonStatus, 'version' | 'processId' | 'startedAtMs' | 'listening'>

/** Asks the daemon to end a call. It answers whether there was one. */
export interface ReleaseSlot {
  callId: string
  /** Who wants it, for the log. */
  by: string
}

/** Asks the daemon to forget which account conversations are bound to. It answers how many were. */
export interface ClearSessions {
  which: WhichBindings
  by: string
}

/**
 * What lives in the daemon's memory, for commands to ask and to change: HTTP over a unix socket that only its owner can open (0600).
 * A file left over from a killed process is removed; the data directory's lock tells that nobody uses it.
 */
export class AdminSocket implements AsyncDisposable {
  readonly #server: Server
  readonly #path: string

  constructor(gateway: Gateway, facts: Facts, path: string) {
    this.#path = path
    const { live, running, log } = gateway
    const answers: Record<string, (asked: unknown) => Promise<unknown>> = {
      'GET /status': () => statusOf(gateway, facts),
      'GET /slots': async () => ({ admissions: await live.admissions(), tickets: await live.tickets() }),
      'GET /sessions': () => live.bindings(),
      'GET /limits': (query) => limitsOf(gateway, query as URLSearchParams),
      'POST /slots/release': async (asked) => {
        const { callId, by } = asked as ReleaseSlot
        const released = running.release(callId)
        if (released) log.warn({ callId, by }, 'an operator has ended a call')
        return { released }
      },
      'POST /sessions/clear': async (asked) => {
        const { which, by } = asked as ClearSessions
        const cleared = await live.unbind(which)
        log.info({ which, cleared, by }, 'an operator has cleared sessions')
        return { cleared }
      },
    }
    this.#server = createServer(async (req, res) => {
      const send = (status: number, body: unknown) =>
        res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      const [path = '', query] = (req.url ?? '').split('?')
      const answer = answers[`${req.method} ${path}`]
      if (!answer) return send(404, { error: 'no such path' })
      try {
        send(200, await answer(req.method === 'POST' ? await askedOf(req) : new URLSearchParams(query)))
      } catch (error) {
        send(500, { error: (error as Error).message })
      }
    })
  }

  /** Throws `unavailable` if the socket's folder cannot be had. */
  listen(): Promise<void> {
    prepareAdminFolder(this.#path)
    rmSync(this.#path, { force: true })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    const umask = process.umask(0o177) // the socket is made with mode 0600, not changed to it later
    this.#server.listen(this.#path, resolve)
    process.umask(umask)
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#path, { force: true })
  }
}

/** Characters; what a command asks is a line. */
const ASKED_MAX = 64 * 1024

async function askedOf(req: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const piece of req.setEncoding('utf8')) {
    text += piece
    if (text.length > ASKED_MAX) throw new Error('this is more than a command asks')
  }
  return JSON.parse(text)
}

/**
 * Where anybody may make folders (/tmp, the way out for a data directory with a long path) it has to be ours: whoever
 * owns the folder could put a socket of their own in our socket's place.
 */
export function prepareAdminFolder(path: string): void {
  const folder = dirname(path)
  const above = statSync(dirname(folder), { throwIfNoEntry: false })
  try {
    if (above && (above.mode & 0o002) !== 0) privateFolder(folder)
    else makeFolder(folder)
  } catch (error) {
    throw new GatewayError('unavailable', `the admin socket has no folder: ${(error as Error).message}`, {
      hint: 'Set admin.socket to a path in a folder of your own.',
    })
  }
}

/** What is used of the limits of `subject` and `id`. */
async function limitsOf(gateway: Gateway, query: URLSearchParams): Promise<LimitStanding[]> {
  const { users, keys, groups, accounts } = gateway.store
  const found: Record<LimitSubject, (id: string) => Promise<Pick<Limited, 'id' | 'limits'>>> = {
    user: users.find,
    key: keys.find,
    group: groups.find,
    account: accounts.find,
  }
  const subject = query.get('subject') as LimitSubject
  const { id, limits } = await found[subject](query.get('id') ?? '')
  return standingsOf(gateway, { subject, id, limits })
}

async function statusOf(gateway: Gateway, facts: Facts): Promise<DaemonStatus> {
  const nowMs = gateway.clock()
  return {
    ...facts,
    pid: process.pid,
    runMode: gateway.config.runMode,
    draining: gateway.running.draining,
    callsRunning: gateway.running.size,
    callsWaiting: (await gateway.live.tickets()).length,
    bufferedBytes: gateway.running.bufferedBytes,
    billingGuard: gateway.guard.state,
    spilled: gateway.store.usage.spilled(),
    rssBytes: process.memoryUsage.rss(),
    accounts: gateway.directory.accounts().map((serving) => {
      const { account } = serving
      const resting = account.rest && account.rest.untilMs > nowMs ? account.rest : null
      const windows = gateway.windows.of(serving)
      const full = pausingForAll(account, windows, nowMs)
      const pauseReason = full && `paused at ${usedPercent(full)} of its ${full.name} window`
      return {
        id: account.id,
        name: account.name,
        status: account.status,
        usable: isUsable(account, nowMs) && !full,
        restUntilMs: resting?.untilMs ?? full?.resetAtMs ?? null,
        reason: resting?.reason ?? pauseReason ?? account.statusReason,
        windows,
      }
    }),
    counters: gateway.counters.all(),
  }
}

import { rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { dirname } from 'node:path'
import type { VendorWindow } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Limited, LimitStanding, LimitSubject } from '../domain/limit.ts'
import { isUsable } from '../gateway/directory.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { standingsOf } from '../gateway/limits.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { privateFolder } from '../lib/private-folder.ts'
import type { Spilled } from '../store/store.ts'

/** What `status` shows of a running daemon. */
export interface DaemonStatus {
  version: string
  pid: number
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
    windows: VendorWindow[]
  }[]
  /** What leaves no usage row: refusals and free calls since the start. */
  counters: Record<string, number>
}

/**
 * What lives in the daemon's memory, for commands to ask: HTTP over a unix socket that only its owner can open (0600).
 * A file left over from a killed process is removed; the data directory's lock tells that nobody uses it.
 */
export class AdminSocket implements AsyncDisposable {
  readonly #server: Server
  readonly #path: string

  constructor(gateway: Gateway, facts: Pick<DaemonStatus, 'version' | 'startedAtMs' | 'listening'>, path: string) {
    this.#path = path
    const answers: Record<string, (query: URLSearchParams) => Promise<unknown>> = {
      '/status': () => statusOf(gateway, facts),
      '/slots': async () => ({ admissions: await gateway.live.admissions(), tickets: await gateway.live.tickets() }),
      '/limits': (query) => limitsOf(gateway, query),
    }
    this.#server = createServer((req, res) => {
      const send = (status: number, body: unknown) =>
        res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      const [path = '', query] = (req.url ?? '').split('?')
      const answer = req.method === 'GET' ? answers[path] : undefined
      if (!answer) send(404, { error: 'no such path' })
      else {
        answer(new URLSearchParams(query)).then(
          (body) => send(200, body),
          (error: Error) => send(500, { error: error.message }),
        )
      }
    })
  }

  /** Throws `unavailable` if the socket's folder cannot be had. */
  listen(): Promise<void> {
    prepareFolder(dirname(this.#path))
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

/**
 * Where anybody may make folders (/tmp, the way out for a data directory with a long path) it has to be ours: whoever
 * owns the folder could put a socket of their own in our socket's place.
 */
function prepareFolder(folder: string): void {
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

async function statusOf(
  gateway: Gateway,
  facts: Pick<DaemonStatus, 'version' | 'startedAtMs' | 'listening'>,
): Promise<DaemonStatus> {
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
      return {
        id: account.id,
        name: account.name,
        status: account.status,
        usable: isUsable(account, nowMs),
        restUntilMs: resting?.untilMs ?? null,
        reason: resting?.reason ?? account.statusReason,
        windows: gateway.windows.of(serving),
      }
    }),
    counters: gateway.counters.all(),
  }
}

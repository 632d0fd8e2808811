import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Config } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import type { DaemonStatus } from '../server/admin.ts'
import { adminSockets } from '../server/admin-place.ts'

const TIMEOUT_MS = 5000

/** Asks a running daemon over its admin socket: of several that serve from one data directory any. Throws `unavailable` if none answers. */
export async function askDaemon<T>(config: Pick<Config, 'adminSocket'>, path: string): Promise<T> {
  const [first] = await askDaemons<T>(config, path)
  return first as T
}

/** Asks each of the daemons that serve from one data directory. Throws as `askDaemon` does. */
export function askDaemons<T>(config: Pick<Config, 'adminSocket'>, path: string): Promise<T[]> {
  return askAll(config, 'GET', path, undefined)
}

/** Tells each of them to do something, and resolves with what they say to that. Throws as `askDaemon` does. */
export function tellDaemons<T>(config: Pick<Config, 'adminSocket'>, path: string, body: object): Promise<T[]> {
  return askAll(config, 'POST', path, JSON.stringify(body))
}

async function askAll<T>(
  { adminSocket }: Pick<Config, 'adminSocket'>,
  method: string,
  path: string,
  asked: string | undefined,
): Promise<T[]> {
  const sockets = adminSockets(adminSocket)
  const answers = await Promise.allSettled(sockets.map((socket) => ask<T>(socket, method, path, asked)))
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  if (told.length > 0) return told
  throw (answers[0] as PromiseRejectedResult).reason
}

function ask<T>(socket: string, method: string, path: string, asked: string | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath: socket, method, path, timeout: TIMEOUT_MS }, async (res) => {
      try {
        const body = await text(res)
        if (res.statusCode !== 200) throw new Error(`it answers ${res.statusCode}`)
        resolve(JSON.parse(body) as T)
      } catch (error) {
        reject(noDaemon(socket, (error as Error).message))
      }
    })
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)))
    asking.on('error', (error: NodeJS.ErrnoException) =>
      reject(noDaemon(socket, REASONS[error.code ?? ''] ?? error.message, error.code === 'EACCES')),
    )
    asking.end(asked)
  })
}

const REASONS: Record<string, string> = {
  ENOENT: 'there is no socket',
  ECONNREFUSED: 'the socket is left over from a process that is gone',
  EACCES: 'the socket belongs to another user',
}

function noDaemon(socket: string, why: string, foreign = false): GatewayError {
  return new GatewayError('unavailable', `no gateway answers at ${socket}: ${why}`, {
    hint: foreign
      ? 'Run this as the user that runs the gateway.'
      : 'Is it running? subgate serve starts one; --data-dir says which one is meant.',
  })
}

/** Lets the running daemons read their configuration again; returns whether there is one. */
export async function reloadDaemon(config: Pick<Config, 'adminSocket'>): Promise<boolean> {
  try {
    for (const { pid } of await askDaemons<DaemonStatus>(config, '/status')) process.kill(pid, 'SIGHUP')
    return true
  } catch {
    return false
  }
}

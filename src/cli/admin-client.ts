import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Config } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import type { DaemonStatus } from '../server/admin.ts'

const TIMEOUT_MS = 5000

/** Asks the running daemon over its admin socket. Throws `unavailable` if none answers there. */
export function askDaemon<T>(config: Pick<Config, 'adminSocket'>, path: string): Promise<T> {
  return ask(config, 'GET', path, undefined)
}

/** Tells the running daemon to do something, and resolves with what it says to that. Throws as `askDaemon` does. */
export function tellDaemon<T>(config: Pick<Config, 'adminSocket'>, path: string, body: object): Promise<T> {
  return ask(config, 'POST', path, JSON.stringify(body))
}

function ask<T>(
  config: Pick<Config, 'adminSocket'>,
  method: string,
  path: string,
  asked: string | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath: config.adminSocket, method, path, timeout: TIMEOUT_MS }, async (res) => {
      try {
        const body = await text(res)
        if (res.statusCode !== 200) throw new Error(`it answers ${res.statusCode}`)
        resolve(JSON.parse(body) as T)
      } catch (error) {
        reject(noDaemon(config.adminSocket, (error as Error).message))
      }
    })
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)))
    asking.on('error', (error: NodeJS.ErrnoException) =>
      reject(noDaemon(config.adminSocket, REASONS[error.code ?? ''] ?? error.message, error.code === 'EACCES')),
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

/** Lets the running daemon read its configuration again; returns whether there is one. */
export async function reloadDaemon(config: Pick<Config, 'adminSocket'>): Promise<boolean> {
  try {
    const { pid } = await askDaemon<DaemonStatus>(config, '/status')
    process.kill(pid, 'SIGHUP')
    return true
  } catch {
    return false
  }
}

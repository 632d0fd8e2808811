import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import type { Config } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'

const KEY_BYTES = 32

/** The key that seals upstream credentials, from the configuration or its file. Throws `unavailable` or `invalid_request` with the remedy. */
export function readMasterKey(config: Pick<Config, 'masterKey' | 'masterKeyFile'>): Buffer {
  if (config.masterKey !== null) return decoded(config.masterKey, 'master_key')
  const file = config.masterKeyFile
  let text: string
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new GatewayError('forbidden', `${file} can be read by others`, { hint: `chmod 600 ${file}` })
    }
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new GatewayError('unavailable', `there is no master key at ${file}`, {
      hint: 'subgate init makes one. If there was one, restore it: without it the stored credentials cannot be opened.',
    })
  }
  return decoded(text, file)
}

/** Makes the key file (0600) if there is none. Returns whether it did. */
export function createMasterKey(config: Pick<Config, 'masterKey' | 'masterKeyFile'>): boolean {
  if (config.masterKey !== null) return false
  try {
    writeFileSync(config.masterKeyFile, `${randomBytes(KEY_BYTES).toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function decoded(text: string, place: string): Buffer {
  const key = Buffer.from(text.trim(), 'base64')
  if (key.length !== KEY_BYTES)
    throw new GatewayError('invalid_request', `${place} does not hold ${KEY_BYTES} bytes in base64`)
  return key
}

import { randomBytes } from 'node:crypto'
import type { ApiKey } from '../domain/api-key.ts'
import { GatewayError } from '../domain/errors.ts'
import type { KeyChanges } from '../store/store.ts'
import type { Workspace } from './workspace.ts'

/** 256 random bits, as text. */
const KEY_BYTES = 32
/** A key that is brought along must be at least this hard to guess. */
const BROUGHT_KEY_CHARACTERS = { min: 20, max: 256 }

/** What is left out is not limited. */
export interface IssueKey
  extends Partial<Omit<ApiKey, 'id' | 'userId' | 'groupId' | 'last4' | 'status' | 'createdAtMs'>> {
  userId: string
  groupId: string
  /** The user's existing key, instead of a new one. */
  broughtKey?: string | null
}

/** Issues a key. The key itself is in the answer and nowhere else. Throws `conflict` if it is known already. */
export async function issueKey(work: Workspace, input: IssueKey): Promise<{ apiKey: ApiKey; key: string }> {
  const { broughtKey = null, ...given } = input
  const key = broughtKey === null ? newKey(work) : checkedKey(broughtKey)
  const apiKey = await work.store.keys.add({ ...UNLIMITED, ...given, ...identityOf(work, key), by: work.by })
  return { apiKey, key }
}

const UNLIMITED = {
  name: null,
  expiresAtMs: null,
  concurrency: null,
  quotaNanoUsd: null,
  allowIps: [],
  denyIps: [],
  models: [],
}

/** Exchanges the key for a new one; everything else about it stays. */
export async function rotateKey(work: Workspace, id: string): Promise<{ apiKey: ApiKey; key: string }> {
  const key = newKey(work)
  const changes: KeyChanges = identityOf(work, key)
  return { apiKey: await work.store.keys.set({ id, changes, by: work.by }), key }
}

function newKey(work: Workspace): string {
  return work.config.defaults.keyPrefix + randomBytes(KEY_BYTES).toString('base64url')
}

function identityOf(work: Workspace, key: string): { hash: string; last4: string } {
  return { hash: work.secrets.hashKey(key), last4: key.slice(-4) }
}

function checkedKey(key: string): string {
  const { min, max } = BROUGHT_KEY_CHARACTERS
  if (key.length < min || key.length > max || !/^[\x21-\x7e]+$/.test(key)) {
    throw new GatewayError(
      'invalid_request',
      `a key that is brought along has ${min} to ${max} visible ASCII characters`,
    )
  }
  return key
}

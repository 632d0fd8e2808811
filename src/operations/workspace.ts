import { createHmac, randomBytes } from 'node:crypto'
import type { Config } from '../config/load.ts'
import type { Credentials } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type SecretBox, secretBox } from '../lib/secret-box.ts'
import type { Actor, Store, StoredAccount } from '../store/store.ts'
import { readMasterKey } from './master-key.ts'

/** What an operator's action works with. */
export interface Workspace {
  config: Config
  store: Store
  secrets: Secrets
  /** Who acts, for audit log and ledger. */
  by: Actor
  clock: Clock
}

/** Everything that needs the master key. */
export interface Secrets {
  /** Hex of HMAC-SHA-256 of an API key, under a random key that is itself sealed in the store (so that a new master key breaks no issued key). */
  hashKey(key: string): string
  sealCredentials(accountId: string, credentials: Credentials): string
  /** Throws `unavailable` if they were sealed under another master key. */
  openCredentials(account: Pick<StoredAccount, 'id' | 'name' | 'sealedCredentials'>): Credentials
}

const HASH_SECRET = 'api_key_hash'

/** Opens the store's secrets with the master key; makes them on first use. Throws `unavailable` if the key does not fit. */
export async function openSecrets(config: Config, store: Store): Promise<Secrets> {
  const box = secretBox(readMasterKey(config))
  const hashSecret = await openHashSecret(store, box)
  return {
    hashKey: (key) => createHmac('sha256', hashSecret).update(key).digest('hex'),
    sealCredentials: (accountId, credentials) => box.seal(JSON.stringify(credentials), credentialsIdentity(accountId)),
    openCredentials({ id, name, sealedCredentials }) {
      try {
        return JSON.parse(box.open(sealedCredentials, credentialsIdentity(id)).toString('utf8')) as Credentials
      } catch {
        throw wrongKey(`the credentials of account '${name}'`)
      }
    },
  }
}

async function openHashSecret(store: Store, box: SecretBox): Promise<Buffer> {
  const sealed =
    (await store.secrets.get(HASH_SECRET)) ??
    (await store.secrets.putIfAbsent({ name: HASH_SECRET, sealed: box.seal(randomBytes(32), HASH_SECRET) }))
  try {
    return box.open(sealed, HASH_SECRET)
  } catch {
    throw wrongKey('the store')
  }
}

function credentialsIdentity(accountId: string): string {
  return `account ${accountId} credentials`
}

function wrongKey(what: string): GatewayError {
  return new GatewayError('unavailable', `this master key does not open ${what}: it was sealed under another one`, {
    hint: 'Restore the master key that belongs to this data directory.',
  })
}

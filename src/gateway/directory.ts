import { hash } from 'node:crypto'
import type { BlockList } from 'node:net'
import { networks } from '../config/schema.ts'
import type { Account, Credentials, Rest } from '../domain/account.ts'
import type { ApiKey } from '../domain/api-key.ts'
import type { Group } from '../domain/group.ts'
import type { User } from '../domain/user.ts'
import type { Clock } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import { patternMatcher } from '../lib/pattern.ts'
import { providers } from '../providers/index.ts'
import type { Provider } from '../providers/provider.ts'
import type { Change, Store, StoredAccount, StoredCaller } from '../store/store.ts'

/** Callers kept; beyond it those used longest ago are read again when they come back. */
const CALLERS_MAX = 50_000
/** Hashes that belong to no key, kept so that guessing costs no reads. */
const STRANGERS_MAX = 10_000
/** The longest that a timer can be set. */
const TIMER_MAX_MS = 2 ** 31 - 1

/** Who makes a call: key, user and group, with what is computed from them once. */
export interface Caller {
  key: ApiKey
  user: User
  group: Group
  /** The user's own multiplier in the group, else the group's; null = the configured default. */
  multiplierMicro: number | null
  allowedIps: BlockList | null
  deniedIps: BlockList | null
  mayAsk: (model: string) => boolean
  /** The group is open to all, or the user is attached to it. */
  mayUseGroup: boolean
}

/** An account as the gateway works with it. `account` is replaced when it changes in the store, and its rest when it fails. */
export interface ServingAccount {
  account: StoredAccount
  provider: Provider
  serves: (model: string) => boolean
  /** Times of recent overloads (unix ms), for soft rests. */
  overloads: number[]
  /** Opens the sealed credentials once. Throws if the master key does not fit. */
  credentials(): Credentials
}

/**
 * What the hot path needs of the store, kept warm: callers by key hash, accounts and groups. Changes by any process
 * arrive through the revision feed and drop just what they touch.
 */
export class Directory implements Disposable {
  readonly #store: Store
  readonly #hashKey: (key: string) => string
  readonly #openCredentials: (account: StoredAccount) => Credentials
  readonly #log: Logger
  readonly #clock: Clock
  /** By digest of the key. */
  readonly #callers = new Map<string, Caller>()
  readonly #strangers = new Set<string>()
  #accounts = new Map<string, ServingAccount>()
  #byGroup = new Map<string, ServingAccount[]>()
  readonly #listeners = new Set<(changes: Change[] | null) => void>()
  #stopListening: () => void = () => {}

  constructor(options: {
    store: Store
    /** Hex of HMAC-SHA-256 of an API key, as the store knows it. */
    hashKey: (key: string) => string
    openCredentials: (account: StoredAccount) => Credentials
    log: Logger
    clock: Clock
  }) {
    this.#store = options.store
    this.#hashKey = options.hashKey
    this.#openCredentials = options.openCredentials
    this.#log = options.log
    this.#clock = options.clock
  }

  /** Reads accounts and follows the store from here on. Throws `unavailable` if the store does not answer. */
  async start(): Promise<void> {
    this.#stopListening = this.#store.onRevision((changes) => void this.#apply(changes))
    await this.#loadAccounts()
  }

  /** Calls back after changes were taken over (null: anything may have changed). Returns the way to stop. */
  onChange(listener: (changes: Change[] | null) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Puts an account to rest here at once, and tells those who wait, now and when the rest is over. Storing it is the caller's. */
  rest(serving: ServingAccount, rest: Rest | null): void {
    serving.account = { ...serving.account, rest }
    const change: Change = { kind: 'account', subject: serving.account.id }
    this.#tell([change])
    if (!rest) return
    const timer = setTimeout(() => this.#tell([change]), Math.min(rest.untilMs - this.#clock() + 1, TIMER_MAX_MS))
    timer.unref()
  }

  #tell(changes: Change[] | null): void {
    for (const listener of [...this.#listeners]) listener(changes)
  }

  /** Whose API key this is; null if nobody's. Reads the store only the first time. */
  async caller(key: string): Promise<Caller | null> {
    // A plain digest is a fifth of the work of the keyed one that the store knows, and never leaves this process.
    const digest = hash('sha256', key, 'base64url')
    const known = this.#callers.get(digest)
    if (known) return known
    if (this.#strangers.has(digest)) return null
    const stored = await this.#store.keys.callerOf(this.#hashKey(key))
    if (!stored) {
      trimOldest(this.#strangers, STRANGERS_MAX)
      this.#strangers.add(digest)
      return null
    }
    const caller = callerOf(stored)
    trimOldest(this.#callers, CALLERS_MAX)
    this.#callers.set(digest, caller)
    return caller
  }

  account(id: string): ServingAccount | undefined {
    return this.#accounts.get(id)
  }

  accounts(): ServingAccount[] {
    return [...this.#accounts.values()]
  }

  accountsOf(groupId: string): readonly ServingAccount[] {
    return this.#byGroup.get(groupId) ?? []
  }

  async #apply(changes: Change[] | null): Promise<void> {
    try {
      if (changes === null || changes.some((change) => change.kind === 'group')) this.#callers.clear()
      if (changes === null || changes.some((change) => change.kind === 'key')) this.#strangers.clear()
      for (const change of changes ?? []) {
        if (change.kind !== 'user' && change.kind !== 'key') continue
        for (const [digest, { user, key }] of this.#callers) {
          if ((change.kind === 'user' ? user.id : key.id) === change.subject) this.#callers.delete(digest)
        }
      }
      if (changes === null || changes.some((change) => change.kind === 'account' || change.kind === 'group')) {
        await this.#loadAccounts()
      }
      this.#tell(changes)
    } catch (error) {
      this.#log.warn({ reason: (error as Error).message }, 'changes could not be read; serving with what is known')
    }
  }

  async #loadAccounts(): Promise<void> {
    const accounts = new Map<string, ServingAccount>()
    const byGroup = new Map<string, ServingAccount[]>()
    for (const account of await this.#store.accounts.list()) {
      const serving = this.#take(account)
      accounts.set(account.id, serving)
      for (const groupId of account.groupIds) {
        const members = byGroup.get(groupId) ?? []
        members.push(serving)
        byGroup.set(groupId, members)
      }
    }
    this.#accounts = accounts
    this.#byGroup = byGroup
  }

  /** The same object for the same account, so that a running call and the directory speak of one thing. */
  #take(account: StoredAccount): ServingAccount {
    const known = this.#accounts.get(account.id)
    const provider = providers[account.provider]
    const serves = patternMatcher(account.models.length > 0 ? account.models : provider.defaultModels)
    if (known) {
      const sameSecret = known.account.sealedCredentials === account.sealedCredentials
      // A soft rest lives here only; the store's word counts for everything else.
      const softRest = known.account.rest?.hardness === 'soft' && known.account.rest.untilMs > this.#clock()
      known.account = softRest && !account.rest ? { ...account, rest: known.account.rest } : account
      known.serves = serves
      if (!sameSecret) known.credentials = this.#opener(account)
      return known
    }
    return { account, provider, serves, overloads: [], credentials: this.#opener(account) }
  }

  #opener(account: StoredAccount): () => Credentials {
    let opened: Credentials | null = null
    return () => {
      opened ??= this.#openCredentials(account)
      return opened
    }
  }

  [Symbol.dispose](): void {
    this.#stopListening()
  }
}

function callerOf({ key, user, group, member }: StoredCaller): Caller {
  return {
    key,
    user,
    group,
    multiplierMicro: member?.multiplierMicro ?? group.multiplierMicro,
    allowedIps: key.allowIps.length > 0 ? networks(key.allowIps) : null,
    deniedIps: key.denyIps.length > 0 ? networks(key.denyIps) : null,
    mayAsk: key.models.length > 0 ? patternMatcher(key.models) : () => true,
    mayUseGroup: !group.exclusive || member !== null,
  }
}

function trimOldest(collection: Map<string, unknown> | Set<string>, max: number): void {
  for (const key of collection.keys()) {
    if (collection.size < max) return
    collection.delete(key)
  }
}

/** True for an account that could serve if it were asked now: active, not expired, not in a hard rest. */
export function isUsable(account: Account, nowMs: number): boolean {
  if (account.status !== 'active') return false
  if (account.expiresAtMs !== null && account.expiresAtMs <= nowMs) return false
  return !(account.rest?.hardness === 'hard' && account.rest.untilMs > nowMs)
}

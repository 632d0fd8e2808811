import { hash } from 'node:crypto'
import type { BlockList } from 'node:net'
import { networks } from '../config/schema.ts'
import { type Account, type Credentials, isWoken, type ModelRest, type Rest } from '../domain/account.ts'
import type { ApiKey } from '../domain/api-key.ts'
import { isGatewayError } from '../domain/errors.ts'
import type { Group } from '../domain/group.ts'
import type { Limited } from '../domain/limit.ts'
import { upstreamModels } from '../domain/model-map.ts'
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
/** How soon what could not be read, or written, is tried again. */
const RETRY_MS = 1000
/** The longest that a timer can be set. */
const TIMER_MAX_MS = 2 ** 31 - 1

/** Who makes a call: key, user and group, with what is computed from them once. */
export interface Caller {
  key: ApiKey
  user: User
  group: Group
  /** Key, user and group, those that have limits. */
  limits: readonly Limited[]
  /** The user's own multiplier in the group, else the group's; null = the configured default. */
  multiplierMicro: number | null
  allowedIps: BlockList | null
  deniedIps: BlockList | null
  mayAsk: (model: string) => boolean
  /** The group is open to all, or the user is attached to it. */
  mayUseGroup: boolean
}

/** A group's accounts, as its calls choose among them. */
export interface Pool {
  group: Group
  accounts: readonly ServingAccount[]
  /** Ids of the accounts that the group's first route for the model leads to; null = any will do. */
  pinnedTo: (model: string) => readonly string[] | null
}

/** An account as the gateway works with it. `account` is replaced when it changes in the store, and its rests when it fails. */
export interface ServingAccount {
  account: StoredAccount
  provider: Provider
  /** What it is asked for when a client asks for this model; null = it does not serve it. */
  upstreamModelOf: (requestedModel: string) => string | null
  /** With its port: what may be down for all accounts at once. */
  host: string
  /** Times of recent overloads (unix ms), for soft rests. */
  overloads: number[]
  /** Ends (unix ms) of the rests that a call has probed, by the model that they are from; null = all. */
  probed: Map<string | null, number>
  /** Opens the sealed credentials once. Throws if the master key does not fit. */
  credentials(): Credentials
}

/** What was done to an account here and is not in the store yet. */
interface Unstored {
  serving: ServingAccount
  /** Null: it is not disabled, or the store knows. */
  disabledReason: string | null
}

/** Hears what changed; null = anything may have. */
type ChangeListener = (changes: Change[] | null) => void | Promise<void>

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
  /** By group: its own pool, and those of the groups that it falls back to. */
  #pools = new Map<string, readonly Pool[]>()
  /** By group: the accounts of all these pools. */
  #byGroup = new Map<string, readonly ServingAccount[]>()
  readonly #listeners = new Set<ChangeListener>()
  #stopListening: () => void = () => {}
  /** By account. Until it is empty again, what the store says of their rests is older than what is known here. */
  readonly #unstored = new Map<string, Unstored>()
  #closed = false
  /** Grows with every change that is heard of: what was read before it may be older than it. */
  #generation = 0
  /** Changes are taken over one after the other. */
  #turn: Promise<void> = Promise.resolve()
  /** Set while changes could not be read. */
  #retry: NodeJS.Timeout | null = null

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
    this.#stopListening = this.#store.onRevision((changes) => this.#hear(changes))
    await this.#loadAccounts()
  }

  /** Calls back after changes were taken over (null: anything may have changed). Returns the way to stop. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Puts an account to rest here at once (null: back into service), in the store by the way, and tells those who wait,
   * now and when the rest is over. A soft rest is over before anybody could read it, and is not stored.
   */
  rest(serving: ServingAccount, rest: Rest | null): void {
    const before = serving.account
    serving.account = { ...before, rest }
    if (storedRestOf(before) || storedRestOf(serving.account)) this.#storeSoon(serving, null)
    this.#tellOfRest(serving, rest?.untilMs ?? null)
  }

  /** The same for the models that the account is not to be asked for; all rests from models are hard. */
  restModels(serving: ServingAccount, modelRests: ModelRest[]): void {
    serving.account = { ...serving.account, modelRests }
    this.#storeSoon(serving, null)
    this.#tellOfRest(serving, modelRests[0]?.untilMs ?? null)
  }

  #tellOfRest({ account }: ServingAccount, untilMs: number | null): void {
    const change: Change = { kind: 'account', subject: account.id }
    this.#tell([change])
    if (untilMs === null) return
    const timer = setTimeout(() => this.#tell([change]), Math.min(untilMs - this.#clock() + 1, TIMER_MAX_MS))
    timer.unref()
  }

  /** Takes an account out of service until its operator acts, here at once, in the store by the way, and tells those who wait. */
  disable(serving: ServingAccount, reason: string): void {
    serving.account = { ...serving.account, status: 'disabled', statusReason: reason }
    this.#storeSoon(serving, reason)
    this.#tell([{ kind: 'account', subject: serving.account.id }])
  }

  #storeSoon(serving: ServingAccount, disabledReason: string | null): void {
    const { id } = serving.account
    const before = this.#unstored.get(id)
    this.#unstored.set(id, { serving, disabledReason: disabledReason ?? before?.disabledReason ?? null })
    if (!before) void this.#write(id, true)
  }

  /** One write at a time for each account, of what is true when it begins; again until the store has taken it. */
  async #write(id: string, isFirstTry: boolean): Promise<void> {
    const unstored = this.#unstored.get(id)
    if (!unstored || this.#closed) return
    const { serving, disabledReason } = unstored
    try {
      const { modelRests } = serving.account
      await this.#store.accounts.rest({ id, rest: storedRestOf(serving.account), modelRests, disabledReason })
    } catch (error) {
      const reason = (error as Error).message
      if (isFirstTry) this.#log.warn({ accountId: id, reason }, "an account's rest could not be stored")
      if (isGatewayError(error, 'unavailable')) {
        setTimeout(() => void this.#write(id, false), RETRY_MS).unref()
        return
      }
      // Trying again would not help: the account has been removed, or it is a bug.
    }
    if (this.#unstored.get(id) === unstored) this.#unstored.delete(id)
    else void this.#write(id, true)
  }

  #tell(changes: Change[] | null): void {
    const complain = (error: Error) => this.#log.warn({ reason: error.message }, 'a change could not be taken over')
    for (const listener of [...this.#listeners]) {
      try {
        listener(changes)?.catch(complain)
      } catch (error) {
        complain(error as Error)
      }
    }
  }

  /** Whose API key this is; null if nobody's. Reads the store only the first time. */
  async caller(key: string): Promise<Caller | null> {
    // A plain digest is a fifth of the work of the keyed one that the store knows, and never leaves this process.
    const digest = hash('sha256', key, 'base64url')
    const known = this.#callers.get(digest)
    if (known) return known
    if (this.#strangers.has(digest)) return null
    const generation = this.#generation
    const stored = await this.#store.keys.callerOf(this.#hashKey(key))
    const caller = stored && callerOf(stored)
    // Something changed meanwhile: good for this one call, and not to be kept.
    if (generation !== this.#generation) return caller
    if (caller) {
      trimOldest(this.#callers, CALLERS_MAX)
      this.#callers.set(digest, caller)
    } else {
      trimOldest(this.#strangers, STRANGERS_MAX)
      this.#strangers.add(digest)
    }
    return caller
  }

  account(id: string): ServingAccount | undefined {
    return this.#accounts.get(id)
  }

  accounts(): ServingAccount[] {
    return [...this.#accounts.values()]
  }

  /** All that a group's calls may come to, with those of the groups that it falls back to. */
  accountsOf(groupId: string): readonly ServingAccount[] {
    return this.#byGroup.get(groupId) ?? []
  }

  /** The group's accounts, then those of each group that it falls back to in turn. */
  poolsOf(groupId: string): readonly Pool[] {
    return this.#pools.get(groupId) ?? []
  }

  /** Callers that changed are forgotten at once; what has to be read follows in its turn. */
  #hear(changes: Change[] | null): void {
    this.#generation++
    for (const change of changes ?? []) this.#forget(change)
    this.#turn = this.#turn.then(() => this.#takeOver(changes))
  }

  #forget({ kind, subject }: Change): void {
    if (kind === 'group') this.#callers.clear()
    if (kind === 'key') this.#strangers.clear()
    if (kind !== 'user' && kind !== 'key') return
    for (const [digest, caller] of this.#callers) if (caller[kind].id === subject) this.#callers.delete(digest)
  }

  /** If the store does not answer, what is known goes on serving, and everything is read anew when it does. */
  async #takeOver(changes: Change[] | null): Promise<void> {
    const news = this.#retry ? null : changes
    try {
      if (news === null || news.some(({ kind }) => kind === 'account' || kind === 'group')) await this.#loadAccounts()
    } catch (error) {
      if (!this.#retry) {
        this.#log.warn({ reason: (error as Error).message }, 'changes could not be read; serving with what is known')
      }
      clearTimeout(this.#retry ?? undefined)
      this.#retry = setTimeout(() => this.#hear(null), RETRY_MS).unref()
      return
    }
    clearTimeout(this.#retry ?? undefined)
    this.#retry = null
    if (news === null) {
      this.#callers.clear()
      this.#strangers.clear()
    }
    this.#tell(news)
  }

  async #loadAccounts(): Promise<void> {
    const groups = await this.#store.groups.list()
    // Last: what a gateway does to accounts is newer the moment after they were read.
    const accounts = (await this.#store.accounts.list()).map((account) => this.#take(account))
    this.#accounts = new Map(accounts.map((serving) => [serving.account.id, serving]))
    const own = new Map(groups.map((group) => [group.id, poolOf(group, accounts)]))
    this.#pools = new Map(groups.map(({ id }) => [id, chainFrom(id, own)]))
    this.#byGroup = new Map(
      Array.from(this.#pools, ([id, pools]) => [id, [...new Set(pools.flatMap((pool) => pool.accounts))]]),
    )
  }

  /** The same object for the same account, so that a running call and the directory speak of one thing. */
  #take(account: StoredAccount): ServingAccount {
    const known = this.#accounts.get(account.id)
    const provider = providers[account.provider]
    const patterns = account.models.length > 0 ? account.models : provider.defaultModels
    const upstreamModelOf = upstreamModels(patterns, account.modelMap)
    const { host } = new URL(account.baseUrl)
    if (known) {
      const sameSecret = known.account.sealedCredentials === account.sealedCredentials
      if (known.account.wokenAtMs !== account.wokenAtMs) known.overloads = []
      known.account = this.#withWhatIsNewerHere(account, known)
      known.upstreamModelOf = upstreamModelOf
      known.host = host
      if (!sameSecret) known.credentials = this.#opener(account)
      return known
    }
    const credentials = this.#opener(account)
    return { account, provider, upstreamModelOf, host, overloads: [], probed: new Map(), credentials }
  }

  /** A soft rest lives here only, and what is not stored yet must not be undone; for everything else the store's word counts. */
  #withWhatIsNewerHere(account: StoredAccount, { account: known }: ServingAccount): StoredAccount {
    const { wokenAtMs } = account
    const rest = known.rest && !isWoken(known.rest, wokenAtMs) ? known.rest : null
    const unstored = this.#unstored.get(account.id)
    if (!unstored) {
      const softRest = rest?.hardness === 'soft' && rest.untilMs > this.#clock()
      return softRest && !account.rest ? { ...account, rest } : account
    }
    const { disabledReason } = unstored
    const rests = { rest, modelRests: known.modelRests.filter((one) => !isWoken(one, wokenAtMs)) }
    if (disabledReason === null) return { ...account, ...rests }
    return { ...account, ...rests, status: 'disabled', statusReason: disabledReason }
  }

  #opener(account: StoredAccount): () => Credentials {
    let opened: Credentials | null = null
    return () => {
      opened ??= this.#openCredentials(account)
      return opened
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#stopListening()
    clearTimeout(this.#retry ?? undefined)
  }
}

/** What of its rest the store has to know. */
function storedRestOf({ rest }: Account): Rest | null {
  return rest?.hardness === 'hard' ? rest : null
}

function poolOf(group: Group, accounts: readonly ServingAccount[]): Pool {
  const routes = group.routes.map(({ pattern, accountIds }) => ({ matches: patternMatcher([pattern]), accountIds }))
  return {
    group,
    accounts: accounts.filter(({ account }) => account.groupIds.includes(group.id)),
    pinnedTo: (model) => routes.find(({ matches }) => matches(model))?.accountIds ?? null,
  }
}

/** A group's pool and those that it falls back to. */
function chainFrom(groupId: string, own: ReadonlyMap<string, Pool>): Pool[] {
  const chain = new Set<Pool>() // the store lets no circle in, and none could hold anybody up here
  for (let pool = own.get(groupId); pool && !chain.has(pool); pool = own.get(pool.group.fallbackGroupId ?? '')) {
    chain.add(pool)
  }
  return [...chain]
}

function callerOf({ key, user, group, member }: StoredCaller): Caller {
  const limited: Limited[] = [
    { subject: 'key', id: key.id, limits: key.limits },
    { subject: 'user', id: user.id, limits: user.limits },
    { subject: 'group', id: group.id, limits: group.limits },
  ]
  return {
    key,
    user,
    group,
    limits: limited.filter(({ limits }) => limits.length > 0),
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

/** True for an account that its operator means to serve, whether it rests or not. */
export function isInService({ status, expiresAtMs }: Account, nowMs: number): boolean {
  return status === 'active' && (expiresAtMs === null || expiresAtMs > nowMs)
}

/** True for an account that could serve some model if it were asked now: in service and not in a hard rest. */
export function isUsable(account: Account, nowMs: number): boolean {
  return isInService(account, nowMs) && !(account.rest?.hardness === 'hard' && account.rest.untilMs > nowMs)
}

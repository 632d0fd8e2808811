import type {
  Account,
  AccountStatus,
  ModelRest,
  PauseAt,
  ProviderName,
  Rest,
  RestRule,
  VendorWindow,
} from '../domain/account.ts'
import type { AccountObject, ObjectKind } from '../domain/account-object.ts'
import type { ApiKey, KeyStatus } from '../domain/api-key.ts'
import type { CallRecord, ClientName } from '../domain/call.ts'
import type { Deadlines } from '../domain/deadline.ts'
import type { Group, GroupMember, ModelRoute, WhenClientLeaves } from '../domain/group.ts'
import type { Consumption, Limit, LimitSubject } from '../domain/limit.ts'
import type { ModelMap } from '../domain/model-map.ts'
import type { PriceRow } from '../domain/price.ts'
import type { Usage } from '../domain/usage.ts'
import type { User, UserRole, UserStatus } from '../domain/user.ts'

/**
 * What outlives the process. Reads, and named write operations (plain data in, plain data out), each one transaction.
 * Every method may throw `unavailable` (the database is locked, full, broken or gone), and writes that name something by
 * an id that is not there throw `not_found`. Operators' writes also leave an audit row and a change in the revision feed.
 *
 * `find(ref)` takes an id, a unique name or e-mail, or a unique prefix of an id that goes beyond its kind (`usr_`); it
 * throws `not_found`, or `conflict` when several fit. Of keys with one name those that are not revoked are meant.
 */
export interface Store extends AsyncDisposable {
  users: UserStore
  keys: KeyStore
  groups: GroupStore
  accounts: AccountStore
  usage: UsageStore
  ledger: LedgerStore
  objects: ObjectStore
  prices: PriceStore
  audit: {
    /** The newest so many, oldest first. */
    last(count: number): Promise<AuditEntry[]>
  }
  secrets: SecretStore
  processes: ProcessStore
  /**
   * Calls back within a second of a change by any process, with what changed; `null` = anything may have, as after an
   * outage. Returns the way to stop.
   */
  onRevision(listener: (changes: Change[] | null) => void): () => void
  /** Resolves if the store answers. */
  ping(): Promise<void>
}

/** Who does something, as ledger and audit log name it: `cli:alice`, `gateway`. */
export type Actor = string

/** Pages by key, never by offset: rows after `after`, in order. */
export interface Page {
  after?: string | undefined
  limit: number
}

export interface Change {
  kind: 'user' | 'key' | 'group' | 'account' | 'price'
  subject: string
}

export interface UserStore {
  find(ref: string): Promise<User>
  list(page: Page): Promise<User[]>
  /** Throws `invalid_request` if the e-mail is none, `conflict` if it is taken. A starting balance becomes a ledger entry. */
  add(input: AddUser): Promise<User>
  /** Throws as `add` does. */
  set(input: { id: string; changes: UserChanges; by: Actor }): Promise<User>
  /** Moves the balance by a ledger entry; a negative amount takes away. Throws `invalid_request` beyond ±$9 million. */
  credit(input: { id: string; amountNanoUsd: number; note: string | null; by: Actor }): Promise<User>
}

export interface AddUser {
  email: string
  name: string | null
  role: UserRole
  balanceNanoUsd: number
  concurrency: number | null
  /** None if left out. */
  limits?: Limit[]
  by: Actor
}

export interface UserChanges {
  email?: string
  name?: string | null
  role?: UserRole
  status?: UserStatus
  concurrency?: number | null
  /** All of them anew. */
  limits?: Limit[]
}

export interface KeyStore {
  find(ref: string): Promise<ApiKey>
  list(page: Page & { userId?: string | undefined }): Promise<ApiKey[]>
  /** Everything that identifies a caller; null if no key has this hash. */
  callerOf(hash: string): Promise<StoredCaller | null>
  /** Throws `conflict` if the key is already known, and `forbidden` if the group is exclusive and the user not attached. */
  add(input: AddKey): Promise<ApiKey>
  /** Throws as `add` does. */
  set(input: { id: string; changes: KeyChanges; by: Actor }): Promise<ApiKey>
}

export interface AddKey extends Omit<ApiKey, 'id' | 'status' | 'createdAtMs' | 'limits'> {
  /** None if left out. */
  limits?: Limit[]
  /** Hex of HMAC-SHA-256 under the secret `api_key_hash`. */
  hash: string
  by: Actor
}

export type KeyChanges = Partial<Omit<ApiKey, 'id' | 'userId' | 'createdAtMs' | 'status'>> & {
  hash?: string
  status?: KeyStatus
}

/** A key with its user, its group, and the user's standing in the group. */
export interface StoredCaller {
  key: ApiKey
  user: User
  group: Group
  member: GroupMember | null
}

export interface GroupStore {
  find(ref: string): Promise<Group>
  list(): Promise<Group[]>
  members(id: string): Promise<GroupMember[]>
  /**
   * Throws `conflict` if the name is taken, and `invalid_request` if a route leads to an account that is not attached, or
   * the fallback makes a circle or a chain of more than eight.
   */
  add(input: AddGroup): Promise<Group>
  set(input: { id: string; changes: Partial<Omit<AddGroup, 'by' | 'accountIds'>>; by: Actor }): Promise<Group>
  /** Attaching what is attached changes a user's multiplier at most; detaching what is not changes nothing. */
  attachAccount(input: { id: string; accountId: string; by: Actor }): Promise<void>
  detachAccount(input: { id: string; accountId: string; by: Actor }): Promise<void>
  /** A multiplier that is left out stays as it is; null takes it away. */
  attachUser(input: { id: string; userId: string; multiplierMicro?: number | null; by: Actor }): Promise<void>
  detachUser(input: { id: string; userId: string; by: Actor }): Promise<void>
}

export interface AddGroup {
  name: string
  multiplierMicro: number | null
  exclusive: boolean
  whenClientLeaves: WhenClientLeaves | null
  /** None if left out. */
  limits?: Limit[]
  routes?: ModelRoute[]
  fallbackGroupId?: string | null
  accountIds: string[]
  by: Actor
}

/** An account with the groups that it is attached to and its sealed credentials. */
export interface StoredAccount extends Account {
  groupIds: string[]
  sealedCredentials: string
}

export interface AccountStore {
  find(ref: string): Promise<StoredAccount>
  list(): Promise<StoredAccount[]>
  /** Throws `conflict` if the name is taken. The id is the caller's, because the credentials are sealed for it. */
  add(input: AddAccount): Promise<StoredAccount>
  set(input: { id: string; changes: AccountChanges; by: Actor }): Promise<StoredAccount>
  /** Usage rows keep the removed account's id; what lay there is forgotten. Throws `conflict` if a group's route leads to it. */
  remove(input: { id: string; by: Actor }): Promise<void>
  /**
   * Written by the gateway: puts the account, or the account for some models, out of service for a time (null: back in), or
   * disables it. Not on the audit log.
   */
  rest(input: { id: string; rest: Rest | null; modelRests: ModelRest[]; disabledReason: string | null }): Promise<void>
  /**
   * Written by the gateway: what vendors say of the accounts' windows, in place of what they said before. Announced to
   * nobody, and without effect on accounts that are gone.
   */
  keepWindows(input: { samples: { id: string; windows: VendorWindow[] }[] }): Promise<void>
}

export interface AddAccount {
  id: string
  provider: ProviderName
  name: string
  baseUrl: string
  priority: number
  weight: number
  concurrency: number | null
  /** None if left out. */
  limits?: Limit[]
  models: string[]
  /** Empty if left out. */
  modelMap?: ModelMap
  /** Any if left out. */
  onlyClient?: ClientName | null
  /** False if left out. */
  hybrid?: boolean
  /** None if left out. */
  pauseAt?: PauseAt[]
  headers: Record<string, string>
  expiresAtMs: number | null
  /** None if left out. */
  deadlines?: Partial<Deadlines>
  last4: string
  sealedCredentials: string
  groupIds: string[]
  by: Actor
}

export type AccountChanges = Partial<Omit<AddAccount, 'id' | 'provider' | 'by'>> & {
  status?: AccountStatus
  statusReason?: string | null
  restRules?: RestRule[]
  /** Ends its rests, also those that only a running gateway knows of. */
  wakes?: true
}

/** How a durable record was made durable. */
export type Recorded = 'committed' | 'spilled'

/** Records that wait in the spill file, and when the call of the first of them ended; null if none waits. */
export interface Spilled {
  records: number
  sinceMs: number | null
}

export interface UsageStore {
  /**
   * Writes a call's usage, its debit and its roll-ups in one transaction, together with all calls that end while the
   * last one commits. Idempotent by call id. Resolves once it is durable: committed, or after `chargeWaitMs` spilled
   * to a file that is replayed when the store is back. Rejects with `unavailable` if neither worked, and with what is
   * wrong with it if the store cannot take this record: it is lost then.
   */
  record(record: CallRecord, journaled: boolean): Promise<Recorded>
  /** What this process has spilled and not replayed yet. */
  spilled(): Spilled
  /** Notes a call that is still running, so that a killed process leaves a trace of it. Written by the way; never rejects. */
  journal(record: CallRecord): void
  /**
   * Turns what a dead process (null: every process, where no other one can be alive) left in the journal into usage rows
   * with outcome `interrupted`, and forgets the process. Returns their ids. If it lives after all, its calls' own records
   * take the place of those rows.
   */
  closeInterrupted(input: { processId: string | null }): Promise<string[]>
  /** Throws `not_found`. */
  show(callId: string): Promise<StoredCall>
  /** By the time of their end, oldest first. */
  tail(filter: UsageFilter & TailPosition): Promise<StoredCall[]>
  /** By call id, oldest first. */
  list(filter: UsageFilter & Page): Promise<StoredCall[]>
  /** From roll-ups: a time inside a quarter of an hour counts as its beginning. Throws `internal` if a sum is beyond 2^53. */
  report(input: { filter: UsageFilter; by: ReportDimension }): Promise<ReportRow[]>
  /**
   * What somebody used since a time (one inside a quarter of an hour counts as its beginning) by the time of the calls'
   * admission, and which of the named calls are in it: one view. The time is cut at whole multiples of `stepMs`, which is
   * one of a quarter of an hour; `byModel` tells models apart. `spending` says what callers have spent: cost or charge.
   */
  consumption(input: {
    subject: LimitSubject
    id: string
    fromMs: number
    stepMs: number
    byModel: boolean
    spending: 'cost' | 'charged'
    callIds: string[]
  }): Promise<RecentUsage>
  /** Deletes rows of calls admitted before a time, some thousands in a transaction; a closing row per roll-up cell keeps the proof. Returns how many. */
  prune(input: { beforeMs: number; by: Actor }): Promise<number>
  /** Ledger = balances = usage = roll-ups, in one consistent view. */
  verify(): Promise<Verification>
}

export interface RecentUsage {
  /** By time; `toMs` is exclusive. Where models are told apart each is of one, as sent upstream. */
  spans: { fromMs: number; toMs: number; model?: string; used: Consumption }[]
  /** Those of the asked calls that are in the spans already. */
  recordedCallIds: string[]
}

/** `last`: the newest so many. `after`: those that ended after it (its time, then its id). */
export type TailPosition = { last: number } | { after: { endedAtMs: number; id: string }; limit: number }

export interface StoredCall extends CallRecord {
  endedAtMs: number
}

/** All conditions hold together; times are of the call's admission, `toMs` exclusive. */
export interface UsageFilter {
  fromMs?: number | undefined
  toMs?: number | undefined
  userId?: string | undefined
  keyId?: string | undefined
  groupId?: string | undefined
  accountId?: string | undefined
  model?: string | undefined
}

export const REPORT_DIMENSIONS = ['user', 'key', 'account', 'group', 'model', 'provider', 'outcome', 'period'] as const
export type ReportDimension = (typeof REPORT_DIMENSIONS)[number]

/** Totals of one value of the dimension (for `period`: the start of 15 minutes, as text). */
export interface ReportRow {
  value: string
  requests: number
  /** Calls that did not end `complete` and were not left by the client. */
  errors: number
  usage: Usage
  costNanoUsd: number
  chargedNanoUsd: number
  lostNanoUsd: number
  estimated: number
  unpriced: number
  /** Calls per bucket of HISTOGRAM_BOUNDS_MS. */
  durations: number[]
  firstTokens: number[]
}

export interface Verification {
  /** Each a sentence that names what does not add up; empty = proved. */
  problems: string[]
  users: number
  calls: number
  ledgerEntries: number
}

export interface LedgerEntry {
  id: string
  userId: string
  atMs: number
  kind: 'charge' | 'credit'
  amountNanoUsd: number
  balanceAfterNanoUsd: number
  callId: string | null
  actor: Actor | null
  note: string | null
}

export interface LedgerStore {
  /** By time, oldest first. */
  list(page: Page & { userId: string }): Promise<LedgerEntry[]>
  /** The newest so many, oldest first. */
  last(input: { userId: string; count: number }): Promise<LedgerEntry[]>
  /** In one view: a user's balance, what a key has spent in its life (by what calls cost, or by what was charged), and which of the named calls are in both. */
  standing(input: { userId: string; keyId: string; spending: 'cost' | 'charged'; callIds: string[] }): Promise<Standing>
}

export interface Standing {
  balanceNanoUsd: number
  keySpentNanoUsd: number
  /** Those of the asked calls that are already in both numbers. */
  recordedCallIds: string[]
}

/** What vendors keep at one account each. Written by the gateway; announced to nobody. */
export interface ObjectStore {
  /** Whose and where the named things are that have not expired, answers that are stored among them; the newest first, as two vendors may have given one id. */
  find(input: { ids: readonly string[] }): Promise<AccountObject[]>
  /** A user's things of one kind at some accounts, but no answers; those behind `after`, in order. */
  list(input: {
    userId: string
    kind: ObjectKind
    accountIds: readonly string[]
    order: 'newest' | 'oldest'
    after: AccountObject | null
    limit: number
  }): Promise<AccountObject[]>
  /**
   * What is known already stays as it is; but of those that their vendor has just made, what was another's is theirs now: a name has
   * been given away again.
   */
  keep(input: { objects: AccountObject[]; areNew: boolean }): Promise<void>
  drop(input: { accountId: string; id: string }): Promise<void>
}

export interface PriceStore {
  /** The operator's own rows. */
  list(): Promise<PriceRow[]>
  /** Adds rows, or replaces those of the same provider, model and day. */
  set(input: { rows: PriceRow[]; by: Actor }): Promise<void>
}

export interface AuditEntry {
  id: string
  atMs: number
  actor: Actor
  action: string
  subject: string
  detail: Record<string, unknown>
}

export interface SecretStore {
  /** The sealed value, or null. */
  get(name: string): Promise<string | null>
  /** Keeps what is there already; returns what is kept. */
  putIfAbsent(input: { name: string; sealed: string }): Promise<string>
}

/** Which gateway processes work on this store, where there may be several. */
export interface ProcessStore {
  /** Says that this process lives. Answers which others have said so, or have calls in the start journal, and how often. */
  beat(): Promise<KnownProcess[]>
  /** This process ends in good order. */
  leave(): Promise<void>
}

export interface KnownProcess {
  id: string
  beats: number
}

import type { ApiKey } from '../../src/domain/api-key.ts'
import type { CallRecord } from '../../src/domain/call.ts'
import type { Group } from '../../src/domain/group.ts'
import type { User } from '../../src/domain/user.ts'
import type { Change, Store, StoredAccount, StoredCaller } from '../../src/store/store.ts'
import type { ModelAccount } from './model-upstream.ts'

/** As much of a store as a gateway asks for on the way of a call, in memory: it answers at once and never fails. */
export class ModelStore {
  readonly #accounts = new Map<string, StoredAccount>()
  readonly #callers = new Map<string, StoredCaller>()
  readonly #listeners = new Set<(changes: Change[] | null) => void>()
  readonly #onRecord: (record: CallRecord) => void

  constructor(onRecord: (record: CallRecord) => void) {
    this.#onRecord = onRecord
  }

  addAccount(account: StoredAccount): void {
    this.#accounts.set(account.id, account)
  }

  /** Its key's id is its key. */
  addCaller(caller: StoredCaller): void {
    this.#callers.set(caller.key.id, caller)
  }

  /** What an operator does: changes an account, and tells the gateway. */
  setAccount(id: string, changes: Partial<StoredAccount>): void {
    this.#change(id, changes)
    for (const listener of this.#listeners) listener([{ kind: 'account', subject: id }])
  }

  readonly store = {
    accounts: {
      list: async () => [...this.#accounts.values()],
      rest: async ({ id, rest, modelRests }: Parameters<Store['accounts']['rest']>[0]) =>
        this.#change(id, { rest, modelRests }),
      keepWindows: async ({ samples }: Parameters<Store['accounts']['keepWindows']>[0]) => {
        for (const { id, windows } of samples) this.#change(id, { windows })
      },
    },
    groups: { list: async () => [GROUP] },
    keys: { callerOf: async (hash: string) => this.#callers.get(hash) ?? null },
    usage: {
      record: async (record: CallRecord) => {
        this.#onRecord(record)
        return 'committed'
      },
      journal() {},
    },
    onRevision: (listener: (changes: Change[] | null) => void) => {
      this.#listeners.add(listener)
      return () => this.#listeners.delete(listener)
    },
  } as unknown as Store

  #change(id: string, changes: Partial<StoredAccount>): void {
    const account = this.#accounts.get(id)
    if (account) this.#accounts.set(id, { ...account, ...changes })
  }
}

export interface AccountPlan extends Partial<ModelAccount> {
  id: string
  weight?: number
  priority?: number
  /** Calls at a time; left out = no limit. */
  concurrency?: number
  /** Accounts of one host are down together; left out = a host of its own. */
  host?: string
}

export interface UserPlan {
  id: string
  /** Calls at a time; left out = no limit. */
  concurrency?: number
  /** Calls at a time of each of its keys; null = no limit. One without, if left out. */
  keys?: (number | null)[]
}

const GROUP: Group = {
  ...{ id: 'group', name: 'group', multiplierMicro: null, exclusive: false, whenClientLeaves: null, limits: [] },
  ...{ routes: [], fallbackGroupId: null, createdAtMs: 0 },
}

export function storedAccount({ id, weight = 100, priority = 50, concurrency, host = id }: AccountPlan): StoredAccount {
  return {
    ...{ id, provider: 'anthropic', name: id, baseUrl: `https://${host}.example/${id}`, status: 'active' },
    ...{ statusReason: null, priority, weight, concurrency: concurrency ?? null, limits: [], models: [], headers: {} },
    ...{ modelMap: {}, deadlines: {} },
    ...{
      expiresAtMs: null,
      onlyClient: null,
      hybrid: false,
      pauseAt: [],
      rest: null,
      modelRests: [],
      restRules: [],
      windows: [],
      wokenAtMs: null,
    },
    ...{ last4: '', createdAtMs: 0, groupIds: [GROUP.id], sealedCredentials: '' },
  }
}

/** One for each key of the user: `user/0`, `user/1` … */
export function storedCallers({ id, concurrency, keys = [null] }: UserPlan): StoredCaller[] {
  const user: User = {
    ...{ id, email: id, name: null, role: 'user', status: 'active', balanceNanoUsd: 0, limits: [], createdAtMs: 0 },
    concurrency: concurrency ?? null,
  }
  return keys.map((keyConcurrency, index) => {
    const key: ApiKey = {
      ...{ id: `${id}/${index}`, userId: id, groupId: GROUP.id, name: null, last4: '', status: 'active' },
      ...{ expiresAtMs: null, concurrency: keyConcurrency, quotaNanoUsd: null, limits: [] },
      ...{ allowIps: [], denyIps: [], models: [], createdAtMs: 0 },
    }
    return { key, user, group: GROUP, member: null }
  })
}

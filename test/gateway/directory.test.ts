import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { Rest } from '../../src/domain/account.ts'
import { GatewayError } from '../../src/domain/errors.ts'
import type { Group } from '../../src/domain/group.ts'
import { Directory, type ServingAccount } from '../../src/gateway/directory.ts'
import { systemTimer } from '../../src/lib/clock.ts'
import type { Change, Store, StoredAccount, StoredCaller } from '../../src/store/store.ts'
import { until } from '../support/client.ts'

type RestInput = Parameters<Store['accounts']['rest']>[0]

/** A store that answers when the test says so. */
class SlowStore {
  readonly callerReads: PromiseWithResolvers<StoredCaller | null>[] = []
  groups: Partial<Group>[] = [{ id: 'grp_1', routes: [], fallbackGroupId: null }]
  readonly accountReads: PromiseWithResolvers<StoredAccount[]>[] = []
  readonly restWrites: (PromiseWithResolvers<void> & { input: RestInput })[] = []
  #listener: (changes: Change[] | null) => void = () => {}

  readonly store = {
    keys: { callerOf: () => this.#next(this.callerReads) },
    groups: { list: async () => this.groups },
    accounts: { list: () => this.#next(this.accountReads), rest: (input: RestInput) => this.#write(input) },
    onRevision: (listener: (changes: Change[] | null) => void) => {
      this.#listener = listener
      return () => {}
    },
  } as unknown as Store

  #next<T>(reads: PromiseWithResolvers<T>[]): Promise<T> {
    const read = Promise.withResolvers<T>()
    reads.push(read)
    return read.promise
  }

  #write(input: RestInput): Promise<void> {
    const write = { input, ...Promise.withResolvers<void>() }
    this.restWrites.push(write)
    return write.promise
  }

  /** Makes the directory read its accounts, as the store has them. */
  async load(...accounts: StoredAccount[]): Promise<void> {
    this.announce([{ kind: 'account', subject: 'acc_1' }])
    await turn()
    this.accountReads.shift()?.resolve(accounts)
    await turn()
  }

  announce(changes: Change[] | null): void {
    this.#listener(changes)
  }
}

async function startDirectory(): Promise<{ slow: SlowStore; directory: Directory; warnings: string[] }> {
  const slow = new SlowStore()
  const warnings: string[] = []
  const directory = new Directory({
    store: slow.store,
    hashKey: (key) => `hash of ${key}`,
    openCredentials: () => ({ kind: 'api_key', apiKey: 'sk-upstream' }),
    log: pino({ level: 'warn' }, { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) }),
    clock: () => 1_000_000,
    setTimer: systemTimer,
  })
  const started = directory.start()
  await turn()
  slow.accountReads.shift()?.resolve([])
  await started
  return { slow, directory, warnings }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

function callerWith(status: 'active' | 'revoked'): StoredCaller {
  return {
    key: { id: 'key_1', status, allowIps: [], denyIps: [], models: [], limits: [] },
    user: { id: 'usr_1', status: 'active', limits: [] },
    group: { id: 'grp_1', multiplierMicro: null, exclusive: false, limits: [] },
    member: null,
  } as unknown as StoredCaller
}

function account(id: string, more: Partial<StoredAccount> = {}): StoredAccount {
  return {
    ...{ id, provider: 'anthropic', name: id, baseUrl: 'https://api.anthropic.com', status: 'active', priority: 50 },
    ...{
      statusReason: null,
      weight: 100,
      concurrency: null,
      models: [],
      modelMap: {},
      headers: {},
      expiresAtMs: null,
      rest: null,
    },
    ...{ modelRests: [], restRules: [], windows: [], wokenAtMs: null, limits: [], deadlines: {} },
    ...{ onlyClient: null, pauseAt: [], hybrid: false },
    ...{ last4: '1234', sealedCredentials: 'sealed', groupIds: ['grp_1'], createdAtMs: 0, ...more },
  }
}

t.test('a caller is read once and then kept', async (t) => {
  const { slow, directory } = await startDirectory()
  const first = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(callerWith('active'))
  t.equal((await first)?.key.id, 'key_1')
  t.equal(await directory.caller('sk-a'), await first)
  t.equal(slow.callerReads.length, 0)
})

t.test('a key that belongs to nobody is not looked up again until keys change', async (t) => {
  const { slow, directory } = await startDirectory()
  const first = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(null)
  t.equal(await first, null)
  t.equal(await directory.caller('sk-a'), null)
  t.equal(slow.callerReads.length, 0)
  slow.announce([{ kind: 'key', subject: 'key_1' }])
  const second = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(callerWith('active'))
  t.equal((await second)?.key.id, 'key_1')
})

t.test('a read that was under way when a change arrived is not kept', async (t) => {
  const { slow, directory } = await startDirectory()
  const during = directory.caller('sk-a')
  slow.announce([{ kind: 'key', subject: 'key_1' }]) // revoked, after the store had been read
  slow.callerReads.shift()?.resolve(callerWith('active'))
  await during
  const after = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(callerWith('revoked'))
  t.equal((await after)?.key.status, 'revoked')
})

t.test('nor is one that found nobody', async (t) => {
  const { slow, directory } = await startDirectory()
  const during = directory.caller('sk-a')
  slow.announce([{ kind: 'key', subject: 'key_1' }]) // issued, after the store had been read
  slow.callerReads.shift()?.resolve(null)
  t.equal(await during, null)
  const after = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(callerWith('active'))
  t.equal((await after)?.key.id, 'key_1')
})

t.test('changes are taken over one after the other, however long each takes', async (t) => {
  const { slow, directory } = await startDirectory()
  const heard: (Change[] | null)[] = []
  directory.onChange((changes) => void heard.push(changes))
  slow.announce([{ kind: 'account', subject: 'acc_1' }])
  slow.announce([{ kind: 'account', subject: 'acc_2' }])
  await turn()
  t.equal(slow.accountReads.length, 1)
  slow.accountReads.shift()?.resolve([account('acc_1')])
  await turn()
  slow.accountReads.shift()?.resolve([account('acc_1'), account('acc_2')])
  await turn()
  t.equal(directory.accounts().length, 2)
  t.same(
    heard.map((changes) => changes?.[0]?.subject),
    ['acc_1', 'acc_2'],
  )
})

t.test('while the store does not answer, what is known goes on serving, and one line says so', async (t) => {
  const { slow, directory, warnings } = await startDirectory()
  const read = directory.caller('sk-a')
  slow.callerReads.shift()?.resolve(callerWith('active'))
  await read
  for (let i = 0; i < 3; i++) {
    slow.announce(null)
    await turn()
    slow.accountReads.shift()?.reject(new GatewayError('unavailable', 'the disk is full'))
    await turn()
  }
  const known = directory.caller('sk-a')
  t.equal(slow.callerReads.length, 0, 'the caller was still known')
  t.equal((await known)?.key.id, 'key_1')
  t.equal(warnings.length, 1)
  slow.announce(null)
  await turn()
  slow.accountReads.shift()?.resolve([])
  await turn()
  void directory.caller('sk-a')
  t.equal(slow.callerReads.length, 1, 'read anew once the store is back')
})

t.test('a listener that fails, at once or later, harms nobody', async (t) => {
  const { slow, directory, warnings } = await startDirectory()
  const heard: string[] = []
  directory.onChange(() => {
    throw new Error('at once')
  })
  directory.onChange(async () => {
    throw new Error('later')
  })
  directory.onChange(() => void heard.push('the third'))
  slow.announce([{ kind: 'price', subject: 'anthropic/claude' }])
  await turn()
  t.same(heard, ['the third'])
  t.equal(warnings.length, 2)
})

const SOFT: Rest = {
  untilMs: 1_010_000,
  sinceMs: 1_000_000,
  hardness: 'soft',
  kind: 'overload',
  reason: 'overloaded_error',
  step: 1,
}
const HARD: Rest = {
  untilMs: 1_010_000,
  sinceMs: 1_000_000,
  hardness: 'hard',
  kind: 'rate_limit',
  reason: 'rate_limit_error',
  step: 1,
}

async function withAccount(t: Test) {
  const started = await startDirectory()
  t.teardown(() => started.directory[Symbol.dispose]())
  await started.slow.load(account('acc_1'))
  return { ...started, serving: started.directory.account('acc_1') as ServingAccount }
}

t.test('a soft rest lives here only; of a hard one the store has the last word', async (t) => {
  const { slow, directory, serving } = await withAccount(t)
  directory.rest(serving, SOFT)
  t.equal(slow.restWrites.length, 0)
  await slow.load(account('acc_1'))
  t.equal(directory.account('acc_1'), serving, 'the same object, for running calls')
  t.equal(serving.account.rest, SOFT)
  directory.rest(serving, HARD)
  slow.restWrites.shift()?.resolve()
  await turn()
  await slow.load(account('acc_1'))
  t.equal(serving.account.rest, null, 'woken by the operator')
})

t.test(
  'the operator ends what rests since before, also what the store never heard of or has not taken yet',
  async (t) => {
    const { slow, directory, serving } = await withAccount(t)
    directory.rest(serving, SOFT)
    serving.overloads = [1, 2, 3]
    await slow.load(account('acc_1', { wokenAtMs: 1_000_000 }))
    t.same([serving.account.rest, serving.overloads], [null, []])
    directory.rest(serving, HARD)
    directory.restModels(serving, [{ ...HARD, model: 'claude-opus-5-5' }])
    t.equal(slow.restWrites.length, 1, 'under way')
    await slow.load(account('acc_1', { wokenAtMs: 1_000_001 }))
    t.match(serving.account, { rest: null, modelRests: [] })
    directory.rest(serving, { ...HARD, sinceMs: 1_000_002 })
    await slow.load(account('acc_1', { wokenAtMs: 1_000_001 }))
    t.ok(serving.account.rest, 'what it earns after that counts')
  },
)

t.test('what the store has not taken yet outlives a reload, and is offered again until it has', async (t) => {
  const { slow, directory, serving, warnings } = await withAccount(t)
  directory.rest(serving, HARD)
  directory.disable(serving, 'its vendor says so')
  await slow.load(account('acc_1', { priority: 7 }))
  t.match(serving.account, { rest: HARD, status: 'disabled', statusReason: 'its vendor says so', priority: 7 })
  t.equal(slow.restWrites.length, 1, 'one write at a time')
  slow.restWrites.shift()?.reject(new GatewayError('unavailable', 'the disk is full'))
  await turn()
  await slow.load(account('acc_1'))
  t.match(serving.account, { rest: HARD, status: 'disabled' }, 'nor is it lost when the store refuses it')
  const again = await until('the second try', () => slow.restWrites.shift())
  t.same(again.input, { id: 'acc_1', rest: HARD, modelRests: [], disabledReason: 'its vendor says so' })
  again.resolve()
  await turn()
  t.same([slow.restWrites.length, warnings.length], [0, 1])
  await slow.load(account('acc_1'))
  t.match(serving.account, { rest: null, status: 'active' }, 'then the store has the last word again')
})

t.test('the newest rest is the one that is stored', async (t) => {
  const { slow, directory, serving } = await withAccount(t)
  directory.rest(serving, HARD)
  directory.rest(serving, { ...HARD, untilMs: 1_020_000 })
  directory.rest(serving, null)
  slow.restWrites.shift()?.resolve()
  await turn()
  t.same(
    slow.restWrites.map(({ input }) => input.rest),
    [null],
  )
})

t.test('a rest that the store can never take is not offered again', async (t) => {
  const { slow, directory, serving } = await withAccount(t)
  directory.rest(serving, HARD)
  slow.restWrites.shift()?.reject(new GatewayError('not_found', 'the account has been removed'))
  await turn()
  directory.rest(serving, null)
  t.equal(slow.restWrites.length, 1, 'the next one is written at once')
})

t.test('a group has its accounts and those that it falls back to, each once', async (t) => {
  const { slow, directory } = await startDirectory()
  const group = (id: string, fallbackGroupId: string | null, routes: Group['routes'] = []) => ({
    id,
    fallbackGroupId,
    routes,
  })
  const routes = [
    { pattern: 'claude-opus-*', accountIds: ['acc_1'] },
    { pattern: '*-5-5', accountIds: ['acc_2', 'acc_1'] },
  ]
  slow.groups = [
    group('grp_1', 'grp_2', routes),
    group('grp_2', 'grp_3'),
    group('grp_3', null),
    group('grp_4', 'grp_4'),
  ]
  await slow.load(
    account('acc_1'),
    account('acc_2', { groupIds: ['grp_3', 'grp_1'] }),
    account('acc_3', { groupIds: ['grp_3'] }),
    account('acc_4', { groupIds: ['grp_4'] }),
    account('acc_5', { groupIds: [] }),
  )
  const ids = (groupId: string) => directory.accountsOf(groupId).map(({ account }) => account.id)
  t.same(['grp_1', 'grp_2', 'grp_3', 'grp_4', 'grp_none'].map(ids), [
    ['acc_1', 'acc_2', 'acc_3'],
    ['acc_2', 'acc_3'],
    ['acc_2', 'acc_3'],
    ['acc_4'],
    [],
  ])
  const pools = (groupId: string) =>
    directory.poolsOf(groupId).map(({ group, accounts }) => [group.id, ...accounts.map(({ account }) => account.id)])
  t.same(pools('grp_1'), [['grp_1', 'acc_1', 'acc_2'], ['grp_2'], ['grp_3', 'acc_2', 'acc_3']])
  t.same(pools('grp_4'), [['grp_4', 'acc_4']], 'a circle, which no store has, ends')
  const pinned = (model: string) => directory.poolsOf('grp_1').map((pool) => pool.pinnedTo(model))
  t.same(pinned('claude-opus-5-5'), [['acc_1'], null, null])
  t.same(pinned('claude-haiku-5-5'), [['acc_2', 'acc_1'], null, null])
  t.same(pinned('claude-3-haiku'), [null, null, null])
})

import { pino } from 'pino'
import t from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { Directory } from '../../src/gateway/directory.ts'
import type { Change, Store, StoredAccount, StoredCaller } from '../../src/store/store.ts'

/** A store that answers when the test says so. */
class SlowStore {
  readonly callerReads: PromiseWithResolvers<StoredCaller | null>[] = []
  readonly accountReads: PromiseWithResolvers<StoredAccount[]>[] = []
  #listener: (changes: Change[] | null) => void = () => {}

  readonly store = {
    keys: { callerOf: () => this.#next(this.callerReads) },
    accounts: { list: () => this.#next(this.accountReads) },
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
  })
  const started = directory.start()
  slow.accountReads.shift()?.resolve([])
  await started
  return { slow, directory, warnings }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

function callerWith(status: 'active' | 'revoked'): StoredCaller {
  return {
    key: { id: 'key_1', status, allowIps: [], denyIps: [], models: [] },
    user: { id: 'usr_1', status: 'active' },
    group: { id: 'grp_1', multiplierMicro: null, exclusive: false },
    member: null,
  } as unknown as StoredCaller
}

function account(id: string, more: Partial<StoredAccount> = {}): StoredAccount {
  return {
    ...{ id, provider: 'anthropic', name: id, baseUrl: 'https://api.anthropic.com', status: 'active', priority: 50 },
    ...{ statusReason: null, weight: 100, concurrency: null, models: [], headers: {}, expiresAtMs: null, rest: null },
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

t.test('a soft rest lives here only; of a hard one the store has the last word', async (t) => {
  const { slow, directory } = await startDirectory()
  const load = async (accounts: StoredAccount[]) => {
    slow.announce([{ kind: 'account', subject: 'acc_1' }])
    await turn()
    slow.accountReads.shift()?.resolve(accounts)
    await turn()
  }
  await load([account('acc_1')])
  const serving = directory.account('acc_1')
  if (!serving) return t.fail('the account is not there')
  directory.rest(serving, { untilMs: 1_010_000, hardness: 'soft', reason: 'overloaded_error', step: 1 }, 'overload')
  await load([account('acc_1')])
  t.equal(directory.account('acc_1'), serving, 'the same object, for running calls')
  t.equal(serving.account.rest?.reason, 'overloaded_error')
  directory.rest(serving, { untilMs: 1_010_000, hardness: 'hard', reason: 'rate_limit_error', step: 1 }, 'rate_limit')
  await load([account('acc_1')])
  t.equal(serving.account.rest, null, 'woken by the operator')
})

import { pino } from 'pino'
import t from 'tap'
import type { VendorWindow } from '../../src/domain/account.ts'
import { GatewayError } from '../../src/domain/errors.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import { countsFor, VendorWindows } from '../../src/gateway/windows.ts'
import type { ResponseHead } from '../../src/providers/provider.ts'
import type { Store } from '../../src/store/store.ts'

type Samples = Parameters<Store['accounts']['keepWindows']>[0]['samples']

/** What each head tells: as many windows as its status has hundreds, each used by the share that its header says. */
function told({ headers }: ResponseHead, sampledAtMs: number): VendorWindow[] {
  return Object.entries(headers).map(([name, used]) => ({
    ...{ name, used: Number(used), resetAtMs: 9e12, lengthMs: 18_000_000, source: 'headers', sampledAtMs },
    models: name === '7d_opus' ? ['*opus*'] : name === '7d_oi' ? [] : null,
  }))
}

/** A clock and a timer that go when they are told to, and a store that takes what it is given, or does not. */
function world() {
  const time = { nowMs: 1_000_000, timers: [] as { atMs: number; callback: () => void }[] }
  const reads: string[] = []
  const writes: Samples[] = []
  const state = { fails: false }
  const store = {
    accounts: {
      async keepWindows({ samples }: { samples: Samples }) {
        if (state.fails) throw new GatewayError('unavailable', 'the disk is full')
        writes.push(samples)
      },
    },
  } as unknown as Store
  const serving = (id: string, windows: VendorWindow[] = []) =>
    ({
      account: { id, windows },
      provider: {
        readWindows(head: ResponseHead, nowMs: number) {
          reads.push(id)
          return told(head, nowMs)
        },
      },
    }) as unknown as ServingAccount
  const windows = new VendorWindows({
    store,
    clock: () => time.nowMs,
    setTimer(afterMs, callback) {
      const timer = { atMs: time.nowMs + afterMs, callback }
      time.timers.push(timer)
      return () => void time.timers.splice(time.timers.indexOf(timer), 1)
    },
    log: pino({ level: 'silent' }),
  })
  const advance = async (ms: number) => {
    time.nowMs += ms
    const due = time.timers.filter(({ atMs }) => atMs <= time.nowMs)
    time.timers = time.timers.filter(({ atMs }) => atMs > time.nowMs)
    for (const { callback } of due) callback()
    if (due.length > 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const saw = (one: ServingAccount, headers: Record<string, string>) => windows.saw(one, { status: 200, headers })
  return { windows, serving, saw, advance, reads, writes, state }
}

const used = (windows: readonly VendorWindow[]) => windows.map(({ name, used }) => `${name} ${used}`)

t.test('what is told stands until it is told anew, window by window', async (t) => {
  const { windows, serving, saw, advance } = world()
  const account = serving('a')
  saw(account, { '7d': '0.1', '5h': '0.2' })
  saw(account, { '5h': '0.3' })
  saw(account, {})
  t.same(used(windows.of(account)), ['5h 0.2', '7d 0.1'], 'answers that come close together are not all read')
  await advance(100)
  saw(account, { '5h': '0.4' })
  t.same(used(windows.of(account)), ['5h 0.4', '7d 0.1'])
  saw(account, { '5h': '0.5' })
  t.same(used(windows.of(account)), ['5h 0.5', '7d 0.1'], 'who asks gets the last word')
})

t.test('a thousand answers in a second are read ten times and stored once', async (t) => {
  const { serving, saw, advance, reads, writes } = world()
  const accounts = [serving('a'), serving('b')] as const
  for (let i = 0; i < 1000; i++) {
    for (const account of accounts) saw(account, { '5h': String(i / 1000) })
    await advance(1)
  }
  t.ok(reads.length <= 22, `${reads.length} reads`)
  t.equal(writes.length, 0, 'nothing is written while calls are answered')
  await advance(4000)
  t.same(
    writes.map((samples) => samples.map(({ id, windows }) => [id, ...used(windows)])),
    [
      [
        ['a', '5h 0.999'],
        ['b', '5h 0.999'],
      ],
    ],
  )
  await advance(60_000)
  t.equal(writes.length, 1, 'no answers, nothing to store')
})

t.test('answers that tell of no windows store nothing', async (t) => {
  const { serving, saw, writes, windows } = world()
  saw(serving('a'), {})
  await windows[Symbol.asyncDispose]()
  t.same(writes, [])
})

t.test('the end of the process stores what it knows', async (t) => {
  const { serving, saw, writes, windows } = world()
  saw(serving('a'), { '5h': '0.1' })
  saw(serving('a'), { '5h': '0.2' })
  await windows[Symbol.asyncDispose]()
  t.match(writes, [[{ id: 'a', windows: [{ name: '5h', used: 0.2 }] }]])
})

t.test('what was stored is known at first', async (t) => {
  const { serving, saw, windows } = world()
  const stored = told({ status: 200, headers: { '5h': '0.7', '7d': '0.3' } }, 0)
  const account = serving('a', stored)
  t.same(used(windows.of(account)), ['5h 0.7', '7d 0.3'])
  saw(account, { '5h': '0.1' })
  t.same(used(windows.of(account)), ['5h 0.1', '7d 0.3'])
})

t.test('what the store does not take is offered again', async (t) => {
  const { serving, saw, advance, windows, writes, state } = world()
  state.fails = true
  saw(serving('a'), { '5h': '0.1' })
  await advance(5000)
  state.fails = false
  await windows[Symbol.asyncDispose]()
  t.match(writes, [[{ id: 'a', windows: [{ used: 0.1 }] }]])
})

t.test('a window of some models counts for those only', async (t) => {
  const windows = told({ status: 200, headers: { '7d': '0.1', '7d_opus': '0.2', '7d_oi': '0.3' } }, 0)
  const counting = (model: string) => used(windows.filter((window) => countsFor(window, model)))
  t.same(counting('claude-opus-5-5'), ['7d 0.1', '7d_opus 0.2'])
  t.same(counting('claude-sonnet-5-5'), ['7d 0.1'])
})

t.test('who asks for each call reads no more heads for it', async (t) => {
  const { serving, saw, windows, reads, advance } = world()
  const account = serving('a')
  const asked = []
  for (let i = 0; i < 100; i++) {
    saw(account, { '7d': String(i / 100) })
    asked.push(...used(windows.lately(account)))
    await advance(10)
  }
  t.ok(reads.length <= 11, `${reads.length} reads`)
  t.ok(asked.length === 100 && asked.at(-1) !== '7d 0', 'and knows what is new all the same')
})

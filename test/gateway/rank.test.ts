import t from 'tap'
import type { VendorWindow } from '../../src/domain/account.ts'
import { type Contender, effectiveWeight, rank } from '../../src/gateway/rank.ts'
import { seededRandom } from '../support/random.ts'

const HOUR = 3_600_000
const NOW_MS = Date.UTC(2026, 10, 27)

/** A window of 5 hours: the shares of it and of its time that are left. */
function window(left: number, timeLeft: number, lengthMs: number | null = 5 * HOUR): VendorWindow {
  const resetAtMs = NOW_MS + timeLeft * (lengthMs ?? 60_000)
  return { name: '5h', used: 1 - left, resetAtMs, lengthMs, models: null, source: 'headers', sampledAtMs: NOW_MS }
}

t.test('the effective weight of an account of weight 100', async (t) => {
  const cases: [what: string, windows: VendorWindow[], expected: number][] = [
    ['no windows are known', [], 100],
    ['a fresh window', [window(1, 1)], 100],
    ['used evenly', [window(0.5, 0.5)], 100],
    ['used up early', [window(0.5, 1)], 25],
    ['half of it would be lost', [window(1, 0.5)], 400],
    ['a tenth of the time for half of the quota', [window(0.5, 0.1)], 2500],
    ['far behind: a hundredth, so that it is asked now and then', [window(0.01, 1)], 1],
    ['a minute left for nearly all of it: capped', [window(0.9, 1 / 300)], 1_000_000],
    ['full', [window(0, 0.5)], 0],
    ['full, and another is fresh', [window(1, 1), window(0, 0.5)], 0],
    ['its reset has passed: whole', [window(0, 0)], 100],
    ['it refills all the time: no quota', [window(0.01, 0.1, null)], 100],
    ['even, and one that refills is used up', [window(0.5, 0.5), window(0, 0.1, null)], 100],
    ['a reset further away than the window is long', [window(1, 3)], 100],
    ['of two that agree both count', [window(1, 0.5), window(1, 0.5, 168 * HOUR)], 1600],
    ['one would be lost, and the other is scarce', [window(1, 0.5), window(0.25, 0.5, 168 * HOUR)], 100],
  ]
  for (const [what, windows, expected] of cases) {
    t.equal(Math.round(effectiveWeight(100, windows, NOW_MS) * 1e6) / 1e6, expected, what)
  }
  t.equal(effectiveWeight(0, [window(1, 0.1)], NOW_MS), 0, 'an account of no weight stays one')
})

interface Named extends Contender {
  name: string
}

function contender(name: string, wanted: Partial<Contender> = {}): Named {
  return { name, priority: 50, weight: 100, windows: [], isDoubtful: false, ...wanted }
}

const names = (ranked: Named[]) => ranked.map(({ name }) => name).join(' ')

t.test('the order, whatever is drawn', async (t) => {
  const full = { windows: [window(0, 0.5)] }
  const cases: [what: string, contenders: Named[], expected: string][] = [
    ['nobody', [], ''],
    ['lower priority first', [contender('b', { priority: 9 }), contender('a', { priority: 0 })], 'a b'],
    ['no weight last', [contender('b', { weight: 0 }), contender('a', { weight: 1 })], 'a b'],
    ['a full window last', [contender('b', full), contender('a', { windows: [window(0.01, 1)] })], 'a b'],
    ['but of its priority', [contender('b', { priority: 51 }), contender('a', full)], 'a b'],
    ['the doubtful after all others', [contender('b', { priority: 0, isDoubtful: true }), contender('a', full)], 'a b'],
    [
      'and they too by priority',
      [contender('b', { priority: 9, isDoubtful: true }), contender('a', { priority: 8, isDoubtful: true })],
      'a b',
    ],
  ]
  for (const [what, contenders, expected] of cases) {
    const random = seededRandom(1)
    const draws = [() => 2 ** -32, () => 1 - 2 ** -53, ...Array.from({ length: 50 }, () => random)]
    for (const draw of draws) t.equal(names(rank(contenders, NOW_MS, draw)), expected, what)
  }
})

t.test('the first of them by the shares of their effective weights', async (t) => {
  const random = seededRandom(20_261_127)
  const contenders = [
    contender('a', { weight: 300 }),
    contender('b', { windows: [window(1, 0.5)] }),
    contender('c', { windows: [window(0.5, 1)] }),
    contender('d', { weight: 1 }),
  ]
  const weights = contenders.map(({ weight, windows }) => effectiveWeight(weight, windows, NOW_MS))
  const sum = weights.reduce((a, b) => a + b)
  const draws = 100_000
  const firsts = new Map<string, number>()
  for (let i = 0; i < draws; i++) {
    const first = (rank(contenders, NOW_MS, random)[0] as Named).name
    firsts.set(first, (firsts.get(first) ?? 0) + 1)
  }
  for (const [index, { name }] of contenders.entries()) {
    const share = (weights[index] as number) / sum
    const drawn = (firsts.get(name) ?? 0) / draws
    t.ok(Math.abs(drawn - share) < 0.005, `${name}: ${drawn} of ${share}`)
  }
})

t.test('those without weight take turns too', async (t) => {
  const random = seededRandom(7)
  const contenders = [contender('a', { weight: 0 }), contender('b', { windows: [window(0, 1)] })]
  const orders = new Set(Array.from({ length: 50 }, () => names(rank(contenders, NOW_MS, random))))
  t.same([...orders].sort(), ['a b', 'b a'])
})

/**
 * An hour of calls, each at the account that is first, which uses `demand` windows in all. One account's window resets at the
 * end of the hour; the others are used evenly.
 */
function usedInTheLastHour(accounts: number, left: number, demand: number, seed: number): number {
  const calls = 10_000
  const random = seededRandom(seed)
  const pool = Array.from({ length: accounts }, (_, index) => {
    const resetInMs = index === 0 ? HOUR : HOUR + random() * 4 * HOUR
    return { left: index === 0 ? left : resetInMs / (5 * HOUR), resetAtMs: NOW_MS + resetInMs }
  })
  for (let call = 0; call < calls; call++) {
    const nowMs = NOW_MS + (call * HOUR) / calls
    const contenders = pool.map((account) => ({
      ...{ account, priority: 0, weight: 100, isDoubtful: false },
      // As vendors tell it: in hundredths.
      windows: [{ ...window(Math.ceil(account.left * 100) / 100, 0), resetAtMs: account.resetAtMs }],
    }))
    const { account } = rank(contenders, nowMs, random)[0] as (typeof contenders)[0]
    account.left = Math.max(0, account.left - demand / calls)
  }
  return 1 - (pool[0] as (typeof pool)[0]).left
}

t.test('a window that resets within the hour is used up, if there are calls enough', async (t) => {
  for (const accounts of [2, 5, 10, 20]) {
    for (const left of [0.1, 0.3, 0.6, 0.8]) {
      // What uses the whole pool up evenly in five hours does; for fewer accounts, a quarter more than what is left.
      const demand = Math.max(accounts / 5, left * 1.25)
      const used = usedInTheLastHour(accounts, left, demand, accounts)
      t.ok(used >= 0.95, `of ${accounts} accounts, one with ${left} left: ${used.toFixed(3)} used`)
    }
  }
})

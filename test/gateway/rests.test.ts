import t from 'tap'
import type { Rest } from '../../src/domain/account.ts'
import type { UpstreamFault } from '../../src/domain/fault.ts'
import { upstreamFault } from '../../src/gateway/attempt.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import { restAfter } from '../../src/gateway/rests.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

function resting(rest: Rest | null): ServingAccount {
  return { account: { rest }, overloads: [] } as unknown as ServingAccount
}

function fault(rest: UpstreamFault['rest'], retryAfterMs: number | null = null): UpstreamFault {
  return { ...upstreamFault('a_reason', 'words'), rest, retryAfterMs }
}

/** How long each of so many failures in a row puts the account to rest, each when the rest before it is over. */
function restsInARow(kind: UpstreamFault['rest'], count: number): (number | undefined)[] {
  const serving = resting(null)
  let nowMs = 1_000_000
  return Array.from({ length: count }, () => {
    const rest = restAfter(serving, fault(kind), nowMs)
    if (rest) serving.account.rest = rest
    const lastsMs = rest ? rest.untilMs - nowMs : undefined
    nowMs = (rest?.untilMs ?? nowMs) + 1
    return lastsMs
  })
}

t.test('each kind of rest doubles while the fault repeats, up to its most', async (t) => {
  t.same(
    restsInARow('credential', 8),
    [10, 20, 40, 80, 160, 320, 360, 360].map((minutes) => minutes * MINUTE),
  )
  t.same(
    restsInARow('funds', 7),
    [1, 2, 4, 8, 16, 24, 24].map((hours) => hours * HOUR),
  )
  t.same(
    restsInARow('rate_limit', 8),
    [5, 10, 20, 40, 80, 160, 300, 300].map((seconds) => seconds * SECOND),
  )
})

t.test('overloads rest softly, from the third in a minute on', async (t) => {
  const serving = resting(null)
  const at = (ms: number) => restAfter(serving, fault('overload'), ms)
  t.equal(at(0), null)
  t.equal(at(30 * SECOND), null)
  t.equal(at(61 * SECOND), null, 'the first is more than a minute ago')
  t.match(at(62 * SECOND), { hardness: 'soft', untilMs: 72 * SECOND, step: 1, reason: 'a_reason' })
})

t.test("a vendor's own word is taken, up to an hour, and for rate limits only", async (t) => {
  const lasts = (kind: UpstreamFault['rest'], toldMs: number) =>
    restAfter(resting(null), fault(kind, toldMs), 5000)?.untilMs
  t.equal(lasts('rate_limit', 42 * SECOND), 47 * SECOND)
  t.equal(lasts('rate_limit', 0), 5000)
  t.equal(lasts('rate_limit', 24 * HOUR), HOUR + 5000)
  t.equal(lasts('credential', 42 * SECOND), 10 * MINUTE + 5000)
})

const HARD: Rest = { untilMs: 10_000, hardness: 'hard', kind: 'rate_limit', reason: 'rate_limit_error', step: 2 }
const SOFT: Rest = { ...HARD, hardness: 'soft', kind: 'overload' }

t.test('what rests already is not put to rest again: many calls fail at once, the account once', async (t) => {
  t.equal(restAfter(resting(HARD), fault('rate_limit'), 9999), null)
  t.match(restAfter(resting(HARD), fault('rate_limit'), 10_000), { step: 3 })
  t.match(restAfter(resting(SOFT), fault('credential'), 5000), { hardness: 'hard' }, 'a soft rest hides no hard one')
})

t.test('a hard rest ends no sooner for a soft one, nor for a shorter hard one', async (t) => {
  const told: Rest = { ...HARD, untilMs: HOUR, step: 1 }
  const serving = resting(told)
  for (const ms of [1, 2, 3, 4]) t.equal(restAfter(serving, fault('overload'), ms), null)
  t.equal(restAfter(serving, fault('rate_limit', 5000), 5), null)
  t.equal(restAfter(serving, fault('credential'), 5), null)
  t.match(restAfter(serving, fault('funds'), 5), { kind: 'funds', untilMs: HOUR + 5 }, 'it ends later')
})

t.test("a vendor's own word prolongs a rest that was only guessed, and counts as the same failure", async (t) => {
  const rest = restAfter(resting(HARD), fault('rate_limit', HOUR), 9000)
  t.match(rest, { kind: 'rate_limit', untilMs: HOUR + 9000, step: 2 })
})

t.test('only the same kind of fault doubles', async (t) => {
  const sixth: Rest = { ...HARD, step: 6 }
  t.match(restAfter(resting(sixth), fault('credential'), 20_000), { step: 1, untilMs: 10 * MINUTE + 20_000 })
  const unsaid = { ...sixth, kind: undefined } as unknown as Rest // stored before kinds were
  t.match(restAfter(resting(unsaid), fault('rate_limit'), 20_000), { step: 1 })
})

t.test('a fault that rests nothing rests nothing', async (t) => {
  t.equal(restAfter(resting(null), fault(null), 0), null)
})

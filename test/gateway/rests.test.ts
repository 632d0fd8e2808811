import fc from 'fast-check'
import t from 'tap'
import type { ModelRest, Rest } from '../../src/domain/account.ts'
import type { UpstreamFault } from '../../src/domain/fault.ts'
import { upstreamModels } from '../../src/domain/model-map.ts'
import { upstreamFault } from '../../src/gateway/attempt.ts'
import { Breakers } from '../../src/gateway/breakers.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import {
  clearRest,
  hardRestOf,
  leaveToAsk,
  restAfter,
  restIfToBlame,
  restInTheWay,
  underRules,
} from '../../src/gateway/rests.ts'
import { providers } from '../../src/providers/index.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const MODEL = 'claude-opus-5-5'

function fault(rest: UpstreamFault['rest'], more: Partial<UpstreamFault> = {}): UpstreamFault {
  return { ...upstreamFault('a_reason', 'words'), rest, ...more }
}

/** A gateway of one account, under a clock that goes when it is told to. */
function world({ modelMap = {}, ...account }: Partial<ServingAccount['account']> = {}) {
  const serving = {
    account: { id: 'acc_1', rest: null, modelRests: [], restRules: [], ...account },
    upstreamModelOf: upstreamModels(['*'], modelMap),
    host: 'upstream.example',
    overloads: [],
    probed: new Map(),
  } as unknown as ServingAccount
  const disabled: string[] = []
  const directory = {
    rest: (one: ServingAccount, rest: Rest | null) => Object.assign(one.account, { rest }),
    restModels: (one: ServingAccount, modelRests: ModelRest[]) => Object.assign(one.account, { modelRests }),
    disable: (_: ServingAccount, reason: string) => void disabled.push(reason),
  }
  const at = { nowMs: 1_000_000 }
  const log = { warn: () => {} }
  const gateway = { clock: () => at.nowMs, breakers: new Breakers(), directory, log } as unknown as Gateway
  const sent = (requestedModel: string) => serving.upstreamModelOf(requestedModel) ?? requestedModel
  return {
    at,
    serving,
    disabled,
    breakers: gateway.breakers,
    fails: (how: UpstreamFault, model = MODEL) =>
      restIfToBlame(gateway, serving, underRules(serving.account, how), model),
    leave: (model = MODEL) => leaveToAsk(gateway, serving, model),
    mayAsk: (model = MODEL) =>
      !restInTheWay(serving, sent(model), at.nowMs) && gateway.breakers.mayAsk(serving.host, at.nowMs),
    probeFails: (how: UpstreamFault) => restIfToBlame(gateway, serving, how, MODEL, { isProbe: true }),
    answers: (isProbe = false) => clearRest(gateway, serving, MODEL, { isProbe }),
    /** How long it rests from now on, in ms; 0 = not at all. */
    restMs: (model = MODEL) => (hardRestOf(serving.account, sent(model), at.nowMs)?.untilMs ?? at.nowMs) - at.nowMs,
  }
}

/** How long each of so many failures in a row puts the account to rest, each when the rest before it is over. */
function restsInARow(kind: UpstreamFault['rest'], count: number): (number | undefined)[] {
  let before: Rest | null = null
  let nowMs = 1_000_000
  return Array.from({ length: count }, () => {
    const rest = restAfter(before, fault(kind), nowMs)
    const lastsMs = rest ? rest.untilMs - nowMs : undefined
    before = rest ?? before
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
  t.same(
    restsInARow('overload', 5),
    [10, 20, 40, 60, 60].map((seconds) => seconds * SECOND),
  )
})

t.test('overloads rest softly, from the third in a minute on', async (t) => {
  const { at, fails, serving, mayAsk } = world()
  const restAt = (ms: number) => {
    at.nowMs = ms
    fails(fault('overload'))
    return serving.account.rest
  }
  t.equal(restAt(0), null)
  t.equal(restAt(30 * SECOND), null)
  t.equal(restAt(61 * SECOND), null, 'the first is more than a minute ago')
  t.match(restAt(62 * SECOND), { hardness: 'soft', untilMs: 72 * SECOND, step: 1, reason: 'a_reason' })
  t.ok(mayAsk(), 'it is asked last, and not never')
})

t.test("a vendor's own word is taken, up to an hour, and for rate limits only", async (t) => {
  const lasts = (kind: UpstreamFault['rest'], retryAfterMs: number) =>
    restAfter(null, fault(kind, { retryAfterMs }), 5000)?.untilMs
  t.equal(lasts('rate_limit', 42 * SECOND), 47 * SECOND)
  t.equal(lasts('rate_limit', 0), 5000)
  t.equal(lasts('rate_limit', 24 * HOUR), HOUR + 5000)
  t.equal(lasts('credential', 42 * SECOND), 10 * MINUTE + 5000)
})

t.test('a window that is full says until when, whatever else is said, up to eight days', async (t) => {
  const lasts = (restUntilMs: number) =>
    restAfter(null, fault('rate_limit', { restUntilMs, retryAfterMs: 42 * SECOND }), 5000)?.untilMs
  t.equal(lasts(3 * HOUR), 3 * HOUR)
  t.equal(lasts(7 * DAY), 7 * DAY)
  t.equal(lasts(30 * DAY), 8 * DAY + 5000)
})

const HARD: Rest = {
  ...{ untilMs: 10_000, sinceMs: 0, hardness: 'hard' },
  ...{ kind: 'rate_limit', reason: 'rate_limit_error', step: 2 },
}
const SOFT: Rest = { ...HARD, hardness: 'soft', kind: 'overload' }

t.test('what rests already is not put to rest again: many calls fail at once, the account once', async (t) => {
  t.equal(restAfter(HARD, fault('rate_limit'), 9999), null)
  t.match(restAfter(HARD, fault('rate_limit'), 10_000), { step: 3 })
  t.match(restAfter(SOFT, fault('credential'), 5000), { hardness: 'hard' }, 'a soft rest hides no hard one')
})

t.test('a hard rest ends no sooner for a soft one, nor for a shorter hard one', async (t) => {
  const told: Rest = { ...HARD, untilMs: HOUR, step: 1 }
  for (const ms of [1, 2, 3, 4]) t.equal(restAfter(told, fault('overload'), ms), null)
  t.equal(restAfter(told, fault('rate_limit', { retryAfterMs: 5000 }), 5), null)
  t.equal(restAfter(told, fault('credential'), 5), null)
  t.match(restAfter(told, fault('funds'), 5), { kind: 'funds', untilMs: HOUR + 5 }, 'it ends later')
})

t.test("a vendor's own word prolongs a rest that was only guessed, and counts as the same failure", async (t) => {
  const rest = restAfter(HARD, fault('rate_limit', { retryAfterMs: HOUR }), 9000)
  t.match(rest, { kind: 'rate_limit', untilMs: HOUR + 9000, step: 2 })
})

t.test('a burst rests an account for 5 s at first, also when a window was full before', async (t) => {
  t.equal(restAfter(null, fault('rate_limit'), 0)?.untilMs, 5 * SECOND)
  const window = restAfter(null, fault('rate_limit', { restUntilMs: 5 * HOUR }), 0)
  t.equal(window?.untilMs, 5 * HOUR)
  t.equal(restAfter(window, fault('rate_limit'), 6 * HOUR)?.untilMs, 6 * HOUR + 5 * SECOND)
})

t.test('only the same kind of fault doubles', async (t) => {
  t.match(restAfter({ ...HARD, step: 6 }, fault('credential'), 20_000), { step: 1, untilMs: 10 * MINUTE + 20_000 })
})

t.test('a fault that rests nothing rests nothing', async (t) => {
  t.equal(restAfter(null, fault(null), 0), null)
})

t.test('a rest from one model leaves the others alone', async (t) => {
  const { at, serving, fails, mayAsk, restMs, answers } = world()
  fails(fault('rate_limit', { scope: 'model', restUntilMs: at.nowMs + DAY }))
  t.same([mayAsk(MODEL), mayAsk('claude-sonnet-5-5')], [false, true])
  t.equal(serving.account.rest, null)
  fails(fault('rate_limit', { scope: 'model', restUntilMs: at.nowMs + HOUR }), 'claude-haiku-5-5')
  fails(fault('rate_limit', { retryAfterMs: MINUTE }))
  t.same([restMs(MODEL), restMs('claude-haiku-5-5'), restMs('x')], [DAY, HOUR, MINUTE], 'each by its own')
  at.nowMs += 2 * HOUR
  t.same([mayAsk(MODEL), mayAsk('claude-haiku-5-5'), mayAsk('x')], [false, true, true])
  at.nowMs += DAY
  answers()
  t.same(
    serving.account.modelRests.map(({ model }) => model),
    ['claude-haiku-5-5'],
    'an answer for the model clears what doubled its rests',
  )
})

t.test('a rest from a model holds for every name that the model is asked for by', async (t) => {
  const { at, fails, mayAsk, restMs, leave } = world({
    modelMap: { 'claude-haiku-*': MODEL, 'claude-opus-5-5': 'other' },
  })
  fails(fault('rate_limit', { scope: 'model', restUntilMs: at.nowMs + DAY }))
  t.equal(leave(), null)
  t.same([mayAsk('claude-haiku-4'), restMs('claude-haiku-4')], [false, DAY])
  t.same([mayAsk('claude-opus-5-5'), mayAsk('claude-sonnet-5-5')], [true, true], 'and for none that is sent as another')
})

t.test('however many models a client names, so many rest at a time', async (t) => {
  const { at, serving, fails } = world()
  for (let i = 0; i < 200; i++)
    fails(fault('rate_limit', { scope: 'model', restUntilMs: at.nowMs + HOUR + i }), `m${i}`)
  t.equal(serving.account.modelRests.length, 50)
})

t.test('in the last minute of a long rest one call may find out whether it is over', async (t) => {
  const start = () => {
    const one = world()
    one.fails(fault('credential')) // 10 minutes
    one.at.nowMs += 9 * MINUTE - 1
    t.notOk(one.mayAsk())
    t.equal(one.leave(), null)
    one.at.nowMs += 1
    t.ok(one.mayAsk())
    t.same(one.leave(), { isProbe: true })
    t.notOk(one.mayAsk(), 'one, and no other')
    t.equal(one.leave(), null)
    return one
  }
  const good = start()
  good.answers(true)
  t.equal(good.serving.account.rest, null)
  t.same(good.leave(), { isProbe: false })

  const bad = start()
  bad.probeFails(fault('credential'))
  t.equal(bad.restMs(), 20 * MINUTE, 'it goes on, doubled, from here')
  const burst = start()
  burst.probeFails(fault('rate_limit'))
  t.equal(burst.restMs(), MINUTE, 'another fault does not shorten it')

  const short = world()
  short.fails(fault('rate_limit', { retryAfterMs: 5 * MINUTE }))
  short.at.nowMs += 5 * MINUTE - 1
  t.equal(short.leave(), null, 'a short rest is slept to its end')

  const ofModel = world()
  ofModel.fails(fault('rate_limit', { scope: 'model', restUntilMs: ofModel.at.nowMs + DAY }))
  ofModel.at.nowMs += DAY - 1
  t.same(ofModel.leave(), { isProbe: true })
  ofModel.answers(true)
  t.same(ofModel.serving.account.modelRests, [])
})

t.test('an answer that was asked for before the rest does not end it', async (t) => {
  const { fails, answers, serving, at } = world()
  fails(fault('rate_limit'))
  answers()
  t.ok(serving.account.rest)
  at.nowMs += 5 * SECOND
  answers()
  t.equal(serving.account.rest, null)
})

t.test('a host that cannot be reached', async (t) => {
  const gone = fault('overload', { scope: 'host' })

  t.test('is the fault of no account', async (t) => {
    const { fails, serving } = world()
    for (let i = 0; i < 20; i++) fails(gone)
    t.equal(serving.account.rest, null)
    t.same(serving.overloads, [])
  })

  t.test('gets one call at a time after five failures in a row', async (t) => {
    const { fails, leave, mayAsk, at } = world()
    for (let i = 0; i < 4; i++) fails(gone)
    t.same([leave(), leave()], [{ isProbe: false }, { isProbe: false }])
    fails(gone)
    t.ok(leave())
    t.same([mayAsk(), leave()], [false, null])
    fails(gone)
    t.ok(leave(), 'the next as soon as that one has failed')
    at.nowMs += 999
    t.equal(leave(), null)
    at.nowMs += 1
    t.ok(leave(), 'or hangs: who is back is found within seconds')
  })

  t.test('is open to all with its first answer', async (t) => {
    const { fails, leave, breakers } = world()
    for (let i = 0; i < 5; i++) fails(gone)
    breakers.answered('upstream.example')
    t.ok(leave() && leave() && leave())
  })

  t.test('failures that are answered in between, or are far apart, are the weather', async (t) => {
    const { fails, breakers, at } = world()
    for (let i = 0; i < 20; i++) {
      fails(gone)
      if (i % 4 === 3) breakers.answered('upstream.example')
    }
    for (let i = 0; i < 20; i++) {
      fails(gone)
      at.nowMs += 15 * SECOND + 1
    }
    t.notOk(breakers.isOpen('upstream.example'))
  })
})

t.test("the account's own rules come before its provider's table", async (t) => {
  const restRules = [
    { status: 403, keywords: ['Plan limit', 'quota'], restMs: 30 * MINUTE },
    { status: 500, keywords: [], restMs: 2 * MINUTE },
  ]
  const said = (status: number, text: string) =>
    providers.anthropic.readFault({ status, headers: { 'retry-after': '7' } }, Buffer.from(text), 0)
  const { serving, fails, restMs } = world({ restRules })
  const ruled = (status: number, text: string) => underRules(serving.account, said(status, text))
  t.match(ruled(403, '{"message":"your PLAN LIMIT is reached"}'), { blame: 'account', rest: 'rule' })
  t.match(ruled(403, 'forbidden'), { blame: 'upstream', rest: 'overload' }, 'words that are not said')
  t.match(ruled(400, 'quota'), { blame: 'request', rest: null }, 'another status')
  const left = fault(null, { blame: 'client', upstreamStatus: 500 })
  t.equal(underRules(serving.account, left), left)
  fails(said(500, ''))
  t.equal(restMs(), 2 * MINUTE)
  fails(said(403, 'quota'))
  t.equal(restMs(), 30 * MINUTE, 'the first time and every time')
})

t.test('a vendor that refuses an account for good disables it', async (t) => {
  const { fails, disabled, restMs } = world()
  fails(fault('credential', { disables: true, message: 'This organization has been disabled.' }))
  t.same(disabled, ['This organization has been disabled.'])
  t.equal(restMs(), 10 * MINUTE)
})

/** The most that each kind can take an account out, by what was told. */
const CAPS = { credential: 6 * HOUR, funds: DAY, rate_limit: 8 * DAY, overload: 0, rule: 7 * DAY }

t.test('no sequence of faults shortens a hard rest, or keeps an account out for longer than its cap', async () => {
  const kinds = fc.constantFrom(...(['credential', 'funds', 'rate_limit', 'overload', 'rule', null] as const))
  const told = fc.option(fc.integer({ min: 0, max: 400 * DAY }))
  const step = fc.record({
    afterMs: fc.oneof(fc.integer({ min: 0, max: MINUTE }), fc.integer({ min: 0, max: 2 * DAY })),
    kind: kinds,
    scope: fc.constantFrom('account' as const, 'model' as const, 'host' as const),
    retryAfterMs: told,
    windowMs: told,
    isProbe: fc.boolean(),
  })
  const run = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { at, serving, fails, probeFails } = world()
    for (const { afterMs, kind, scope, retryAfterMs, windowMs, isProbe } of steps) {
      at.nowMs += afterMs
      const restUntilMs = windowMs === null ? null : at.nowMs + windowMs
      const hardEnds = () => {
        const { rest, modelRests } = serving.account
        return [rest?.hardness === 'hard' ? rest.untilMs : 0, modelRests[0]?.untilMs ?? 0]
      }
      const before = hardEnds()
      const how = fault(kind, { scope, retryAfterMs, restUntilMs })
      if (isProbe) probeFails(how)
      else fails(how)
      const after = hardEnds()
      for (const [index, endMs] of before.entries()) {
        if (endMs > at.nowMs && (after[index] as number) < endMs) throw new Error('a hard rest was shortened')
      }
      for (const rest of [serving.account.rest, ...serving.account.modelRests]) {
        if (!rest || rest.sinceMs !== at.nowMs) continue
        const capMs = rest.hardness === 'soft' ? MINUTE : CAPS[rest.kind]
        if (rest.untilMs - at.nowMs > capMs) throw new Error(`out for ${rest.untilMs - at.nowMs} ms`)
      }
    }
  })
  fc.assert(run, { numRuns: 2000 })
})

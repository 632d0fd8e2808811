import t from 'tap'
import type { Call } from '../../src/gateway/call.ts'
import type { ServingAccount } from '../../src/gateway/directory.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { callRecord, noAnswer } from '../../src/gateway/record.ts'

const gateway = {
  clock: () => 3000,
  config: { runMode: 'saas', defaults: { multiplierMicro: 2_000_000 } },
  prices: { find: () => null },
} as unknown as Gateway

const call = {
  arrivedMs: 1000,
  caller: { user: {}, key: {}, group: {}, multiplierMicro: null },
  facts: { requestedModel: 'claude-sonnet-5-5' },
  protocol: {},
} as unknown as Call

const story = {
  ...{ admittedMs: 2000, choice: null, seenLimits: null, attempts: [], lostNanoUsd: 0 },
  serving: { account: {}, provider: {} } as unknown as ServingAccount,
  upstreamModel: 'claude-sonnet-5-5',
}

t.test('of an upstream’s own words a row keeps only so much', async (t) => {
  const long = 'x'.repeat(100_000)
  const said = { reportedModel: long, stopReason: long, upstreamRequestId: long }
  const record = callRecord(gateway, call, story, { ...noAnswer('failed', 'overloaded', 529), ...said })
  for (const word of [record.reportedModel, record.stopReason, record.upstreamRequestId]) t.equal(word?.length, 256)
  const short = { reportedModel: 'claude', stopReason: 'end_turn', upstreamRequestId: 'req_1' }
  t.match(callRecord(gateway, call, story, { ...noAnswer('failed', 'overloaded', 529), ...short }), short)
})

t.test('a row has its times from the arrival, and the multiplier that counts', async (t) => {
  const record = callRecord(gateway, call, story, noAnswer('failed', 'overloaded', 529))
  t.match(record, { atMs: 2000, waitMs: 1000, durationMs: 2000, multiplierMicro: 2_000_000, payer: 'balance' })
  const cheaper = { ...call, caller: { ...call.caller, multiplierMicro: 500_000 } }
  t.match(callRecord(gateway, cheaper, story, noAnswer('failed', 'overloaded', 529)), { multiplierMicro: 500_000 })
})

t.test('what its usage does not say leaves the price of a call unknown, unless it is free or failed', async (t) => {
  const outcomes = ['complete', 'client_left', 'upstream_cut', 'timed_out', 'failed', 'rejected'] as const
  const unknown = (costs: 'nothing' | 'unknown' | undefined, more: object = {}) =>
    outcomes.filter((outcome) => {
      const asked = { ...call, facts: { ...call.facts, ...(costs && { costs }) } }
      const record = callRecord(gateway, asked, story, { ...noAnswer(outcome, 'x', 200), ...more })
      return record.priceState === 'unknown'
    })
  t.same(unknown('nothing'), [])
  t.same(unknown(undefined), ['complete'], 'who answers used something')
  t.same(unknown('unknown'), ['complete', 'client_left', 'upstream_cut', 'timed_out'])
  t.same(unknown(undefined, { unmetered: true }), outcomes, 'as its answer says')
  t.same(unknown('nothing', { unmetered: true }), [])
})

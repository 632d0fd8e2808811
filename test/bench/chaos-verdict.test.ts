import t from 'tap'
import { type AnswerReading, readAnswer } from '../../bench/lib/chaos-answers.ts'
import { clientPlan, stampedText, upstreamPlan } from '../../bench/lib/chaos-plan.ts'
import { type Evidence, type Row, violations } from '../../bench/lib/chaos-verdict.ts'
import { messageBody, messageEvents } from '../../src/demo/messages.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'

/** The judge of a chaos run sees each kind of loss, and nothing where nothing is lost. */

const USAGE = { input: 100, output: 4, cacheRead: 7 }
const SEEN = { inputTokens: 100, outputTokens: 4, cacheReadTokens: 7 }
const STREAM = { 'content-type': 'text/event-stream', 'x-subgate-call-id': 'call_1' }
const PLAN = { kind: 'good', pieces: 3, script: {} }
const events = (name = 'a', upstreamCall = 1) =>
  messageEvents({ model: 'm', text: stampedText(name, upstreamCall, PLAN), usage: USAGE }, 'msg')
const answer = (text: string, more: object = {}) => ({
  ...{ status: 200, headers: STREAM, body: Buffer.from(text), text, ended: 'whole' as const },
  ...more,
})

t.test('answers are read as a careful client would', async (t) => {
  const whole = events()
  const read = (text: string, more: object = {}) => readAnswer('a', answer(text, more))
  const good = { status: 200, callId: 'call_1', isStream: true, end: 'complete', cut: false, usage: SEEN, flaws: [] }
  t.same(read(whole.join('')), good)
  t.match(read(`${whole.slice(0, -1).join('')}event: error\ndata: {}\n\n`), { end: 'error', flaws: [] })
  t.match(read(whole.slice(0, 5).join('')), { end: null, usage: null, flaws: [] })
  t.match(read('', { status: 0, headers: {}, ended: 'cut' }), { status: 0, callId: null, end: null, flaws: [] })

  const json = { headers: { 'content-type': 'application/json' } }
  const body = messageBody({ model: 'm', text: stampedText('a', 1, PLAN), usage: USAGE }, 'msg')
  t.match(read(body, json), { isStream: false, end: 'complete', usage: SEEN, flaws: [] })
  t.match(read('{"input_tokens":3}', json), { end: 'complete', usage: null, flaws: [] })
  t.match(read('anything', { ...json, status: 529 }), { end: 'error', flaws: [] })
  t.match(read(body.slice(0, 50), { ...json, ended: 'cut' }), { end: null, cut: true, flaws: [] })

  const flaws = (text: string, more: object = {}) => read(text, more).flaws.join()
  const swapped = [...whole.slice(0, 3), whole[4], whole[3], ...whole.slice(5)]
  t.match(flaws(body.slice(0, 50), json), 'no JSON, but says that it is whole')
  t.match(flaws(whole.join('').slice(0, -20)), 'ends inside an event')
  t.equal(flaws(whole.join('').slice(0, -20), { ended: 'cut' }), '')
  t.match(flaws(whole.join('') + whole[2]), "'ping' comes behind its end")
  t.match(flaws(whole[0] + whole.join('')), 'it starts twice')
  t.match(flaws(`garbage\n\n${whole.join('')}`), 'what is no event')
  t.match(flaws(events('b').join('')), 'it holds bytes of the call b')
  t.match(flaws([...whole.slice(0, 4), ...events('a', 2).slice(4)].join('')), 'bytes of two upstream calls')
  t.match(flaws(swapped.join('')), 'comes at the wrong place')
  t.match(flaws([...whole.slice(0, 4), ...whole.slice(5)].join('')), 'comes at the wrong place')
  t.match(flaws([...whole.slice(0, 5), ...whole.slice(6)].join('')), 'the end of its text is missing')
  t.match(flaws([...whole.slice(0, 3), ...whole.slice(6)].join('')), 'the end of its text is missing')
})

const KILLED_MS = 100_000

/** A call that went well, and its row; with these differences. */
function evidence(
  call: Partial<AnswerReading> & { left?: boolean; stoppedReading?: boolean; asks?: 'token count' } = {},
  rows: Partial<Row>[] = [{}],
  more: Partial<Evidence> & { firstMs?: number; kinds?: string[] | null; life?: object } = {},
): Evidence {
  const { firstMs = KILLED_MS - 60_000, kinds = ['good'], life, ...others } = more
  return {
    answered: [
      {
        ...{ name: 'a', life: 0, startedMs: 0, endedMs: KILLED_MS + 1, left: false, stoppedReading: false },
        ...{ asks: 'message' as const, streams: true, status: 200, callId: 'call_1', isStream: true },
        ...{ end: 'complete' as const, cut: false, usage: SEEN, flaws: [] },
        ...call,
      },
    ],
    lives: [{ stoppedMs: null, killedMs: null, ...life }],
    seen: kinds ? [{ name: 'a', firstMs, kinds }] : [],
    rows: rows.map((row) => ({
      ...{ id: 'call_1', outcome: 'complete' as const, userAgent: 'a', attempts: [], usage: { ...NO_USAGE, ...SEEN } },
      ...row,
    })),
    ...{ left: { 'slots are held': 0 }, forgotten: [], proof: [], alarms: [], exitCodes: [0] },
    ...others,
  }
}

t.test('what must not be is found', async (t) => {
  const found = (...args: Parameters<typeof evidence>) => violations(evidence(...args)).join('\n')
  const killed = { life: { killedMs: KILLED_MS } }
  const stopped = { life: { stoppedMs: KILLED_MS } }
  const young = { ...killed, firstMs: KILLED_MS - 500 }
  const ended = { end: null, usage: null, cut: true }
  t.equal(found(), '')
  t.equal(found({ end: 'error', usage: null, status: 503 }, [], { kinds: null }), '', 'a refusal')
  t.equal(found({ ...ended, left: true }, [{ outcome: 'client_left' }]), '')
  t.equal(found({ ...ended, stoppedReading: true }, [{ outcome: 'client_left' }]), '')
  t.equal(found({ ...ended, left: true }, [], { kinds: null }), '', 'it left before it was admitted')
  t.equal(found(ended, [{ outcome: 'interrupted' }], killed), '')
  t.equal(found(ended, [], young), '', 'killed in its first second')
  t.equal(found({ ...ended, status: 0 }, [], { kinds: null, ...stopped }), '', 'nobody was there any more')
  t.equal(found({ ...ended, isStream: false }, [{ outcome: 'upstream_cut' }], { kinds: ['long, reset'] }), '')

  t.match(found({}, [{}], { left: { 'slots are held': 2 } }), 'in the end 2 slots are held')
  t.match(found({}, [{}], { forgotten: ['call_1 holds a place'] }), 'call_1 holds a place')
  t.match(found({}, [{}], { proof: ['it differs'] }), 'usage verify: it differs')
  t.match(found({}, [{}], { alarms: ['a bug'] }), 'the log says: a bug')
  t.match(found({}, [{}], { exitCodes: [0, 1] }), 'it ended with 1')
  t.match(found({}, [{}], { exitCodes: [null] }), 'it ended with null')
  t.match(found({ flaws: ['it is odd'] }), 'a (call_1, upstream: good): it is odd')
  t.match(found(ended, [{ outcome: 'upstream_cut' }]), 'without a terminal event or an error event')
  t.match(found(ended, [{ outcome: 'stopped' }], stopped), 'without a terminal event', 'a stop is no excuse')
  t.match(found({ ...ended, isStream: false }, [{ outcome: 'upstream_cut' }]), 'its answer was cut')
  t.match(found({ ...ended, status: 0 }, [{ outcome: 'failed' }]), 'it got no answer')
  t.match(found({}, []), 'its client got it whole, and it has no row')
  t.match(found({}, [], young), 'got it whole, and it has no row', 'a kill is no excuse')
  t.match(found({ end: 'error', usage: null }, []), 'an upstream was asked for it, and it has no row')
  t.match(
    found({ end: 'error', usage: null }, [], young),
    'it has no row',
    'who heard of an end heard it after the record',
  )
  t.match(found(ended, [], killed), 'it has no row', 'it ran for longer than a second')
  t.match(found({ ...ended, left: true }, []), 'it has no row')
  t.match(found({}, [{}, {}]), 'it has two rows')
  t.match(found({}, [{ id: 'call_2' }]), 'its row has another id: call_2')
  t.match(found({}, [{ outcome: 'upstream_cut' }]), "got it whole, and it is 'upstream_cut'")
  t.match(found({ end: 'error', usage: null }), "told of an error (200), and it is 'complete'")
  t.match(found({}, [{ usage: NO_USAGE }]), 'it is recorded with')
  t.match(found({}, [{}], { kinds: null }), "it is 'complete', and no upstream was asked")
  t.match(found({}, [{}, { userAgent: 'z', id: 'call_9' }]), 'call_9: a row of a call that nobody made')
  t.match(found({ asks: 'token count', usage: null }), 'a token count has a row')
})

t.test('a plan depends on seed and name alone', async (t) => {
  t.same(clientPlan(1, 'a'), clientPlan(1, 'a'))
  const plans = (seed: number) => Array.from({ length: 20 }, (_, attempt) => upstreamPlan(seed, 'a', attempt))
  t.same(plans(1), plans(1))
  t.notSame(plans(1), plans(2))
  const kinds = new Set(Array.from({ length: 20_000 }, (_, attempt) => upstreamPlan(3, 'b', attempt).kind))
  t.ok(kinds.size > 30, `all ${kinds.size} kinds come`)
})

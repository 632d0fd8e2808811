import t from 'tap'
import { changedDeadlines, formatDeadlines, parseDeadlineChange } from '../../src/domain/deadline.ts'

t.test('deadlines as operators write them', async (t) => {
  const cases: [string, object][] = [
    ['connect=3s', { name: 'connectMs', ms: 3000 }],
    ['first_event=1m30s', { name: 'firstEventMs', ms: 90_000 }],
    ['idle=100ms', { name: 'idleMs', ms: 100 }],
    ['answer=24h', { name: 'answerMs', ms: 86_400_000 }],
    ['total=none', { name: 'totalMs', ms: null }],
    ['none', { name: null, ms: null }],
  ]
  for (const [text, change] of cases) t.same(parseDeadlineChange(text), change, text)
  const wrong: [string, RegExp][] = [
    [
      'first_events=3s',
      /no deadline\. Possible: connect, first_event, idle, answer, total; did you mean first_event\?/,
    ],
    ['constructor=3s', /'constructor' is no deadline/],
    ['first_event', /is not NAME=TIME, such as first_event=90s/],
    ['=3s', /is not NAME=TIME/],
    ['idle=soon', /'soon' is not a duration/],
    ['idle=3', /'3' is not a duration/],
    ['idle=99ms', /a deadline is 100ms to 1d long/],
    ['idle=25h', /a deadline is 100ms to 1d long/],
    ['idle=0s', /a deadline is 100ms to 1d long/],
  ]
  for (const [text, message] of wrong) {
    t.throws(() => parseDeadlineChange(text), { code: 'invalid_request', message }, text)
  }
})

t.test('changes come one after the other, and leave the rest', async (t) => {
  const before = { connectMs: 3000, idleMs: 5000 }
  const after = (...texts: string[]) => changedDeadlines(before, texts.map(parseDeadlineChange))
  t.same(after('idle=6s', 'total=1h'), { connectMs: 3000, idleMs: 6000, totalMs: 3_600_000 })
  t.same(after('idle=none', 'answer=none'), { connectMs: 3000 })
  t.same(after('none', 'idle=6s'), { idleMs: 6000 })
  t.same(before, { connectMs: 3000, idleMs: 5000 })
  t.equal(formatDeadlines({ idleMs: 5000, connectMs: 1500 }), 'connect 1500ms, idle 5s')
  t.equal(formatDeadlines({}), '')
})

import fc from 'fast-check'
import t from 'tap'
import { nearest, patternMatcher } from '../../src/lib/pattern.ts'

/** Slow and obviously right. */
function matches(text: string, pattern: string): boolean {
  if (pattern === '') return text === ''
  if (pattern[0] === '*') return matches(text, pattern.slice(1)) || (text !== '' && matches(text.slice(1), pattern))
  return text !== '' && text[0] === pattern[0] && matches(text.slice(1), pattern.slice(1))
}

t.test('a pattern matches what its definition says', async () => {
  const few = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 7 })
  const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 9 })
  fc.assert(
    fc.property(fc.array(few, { maxLength: 3 }), text, (patterns, text) => {
      return patternMatcher(patterns)(text) === patterns.some((pattern) => matches(text, pattern))
    }),
    { numRuns: 2000 },
  )
})

t.test('everything but the star stands for itself', async (t) => {
  const serves = patternMatcher(['claude-*', 'gpt-4.1', 'a+b'])
  t.same(['claude-', 'claude-opus-5-5', 'gpt-4.1', 'a+b'].map(serves), [true, true, true, true])
  t.same(['Claude-opus', 'xclaude-opus', 'gpt-4x1', 'gpt-4.1-mini', 'aab', ''].map(serves), Array(6).fill(false))
  t.ok(patternMatcher(['*'])('a\nb'), 'a star stands for line ends too')
  t.notOk(patternMatcher([])('anything'))
})

t.test('a pattern of many stars takes no time over a name made to fit it almost', async (t) => {
  const before = performance.now()
  t.notOk(patternMatcher([`${'*a'.repeat(100)}*b`])('a'.repeat(10_000)))
  t.ok(performance.now() - before < 5000)
})

t.test('the nearest name is one that a slip of the finger could have meant', async (t) => {
  const known = ['server.port', 'server.host', 'gateway.wait', 'constructor']
  t.equal(nearest('server.prot', known), 'server.port')
  t.equal(nearest('sever.host', known), 'server.host')
  t.equal(nearest('gateway.waits', known), 'gateway.wait')
  t.equal(nearest('billing', known), null)
  t.equal(nearest('', known), null)
  t.equal(nearest('server.port', []), null)
  t.equal(nearest('x'.repeat(1_000_000), known), null)
})

import t from 'tap'
import { SESSION_SIGNALS, type SessionSignal } from '../../src/domain/call.ts'
import { type Beginning, conversationOf } from '../../src/protocols/conversation.ts'
import type { Headers } from '../../src/protocols/protocol.ts'

/** A request that gives the signals of the list with these values, and begins with `hi`. */
function conversation(signals: Partial<Record<SessionSignal, unknown>>, begins: Beginning | null = HI) {
  const {
    'metadata.user_id': user_id,
    prompt_cache_key,
    'request.session_id': session_id,
    ...headers
  } = signals as Record<SessionSignal, unknown>
  const ofClaudeCode = typeof user_id === 'string' ? JSON.stringify({ session_id: user_id }) : user_id
  const body = { metadata: { user_id: ofClaudeCode }, prompt_cache_key, request: { session_id } }
  return conversationOf(
    headers as unknown as Headers,
    (field) => body[field],
    () => begins,
  )
}

const HI: Beginning = { system: ['Be brief.'], firstUser: ['hi'] }

t.test('the first signal that says something counts, whichever client gives it', async (t) => {
  const given: Partial<Record<SessionSignal, unknown>> = {}
  for (const source of SESSION_SIGNALS.toReversed()) {
    given[source] = `by ${source}`
    t.same(conversation(given), { source, name: `by ${source}` })
  }
  for (const source of SESSION_SIGNALS) {
    t.match(conversation({ [source]: 'x', [SESSION_SIGNALS.at(-1) as string]: 'y' }), { source, name: /x|y/ }, source)
    for (const broken of ['', 'x'.repeat(513), 'a\tb', '\u007f', 7, null, ['x', 'y'], { a: 1 }]) {
      t.match(conversation({ [source]: broken }), { source: 'first words' }, `${source} is ${JSON.stringify(broken)}`)
    }
  }
})

t.test('fields that are none of what they should be say nothing', async (t) => {
  for (const field of [undefined, null, 7, 'text', [], {}]) {
    const found = conversationOf(
      {},
      () => field,
      () => HI,
    )
    t.match(found, { source: field === 'text' ? 'prompt_cache_key' : 'first words' }, JSON.stringify(field))
  }
})

t.test('without a signal it is a hash of its beginning; without one it has no name', async (t) => {
  const name = (begins: Beginning | null) => conversation({}, begins)?.name
  t.match(name(HI), /^[\w-]{43}$/)
  t.equal(name({ system: ['x-anthropic-billing-header: cc_version=2', 'Be brief.'], firstUser: ['hi'] }), name(HI))
  const others: Beginning[] = [
    { system: [], firstUser: ['hi'] },
    { system: ['Be brief.'], firstUser: ['ho'] },
    { system: ['Be brief.', 'hi'], firstUser: [] },
  ]
  t.equal(new Set([HI, ...others].map(name)).size, 4)
  t.equal(name(null), undefined)
})

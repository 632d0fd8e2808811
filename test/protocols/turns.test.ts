import t from 'tap'
import type { Turn } from '../../src/protocols/neutral.ts'
import { mergedTurns, pairedTurns } from '../../src/protocols/turns.ts'

const text = (text: string) => ({ kind: 'text' as const, text })
const call = (id: string) => ({
  kind: 'tool_call' as const,
  id,
  namespace: null,
  name: 'look',
  tool: 'function' as const,
  input: '{}',
})
const result = (callId: string, said = `of ${callId}`) => ({
  kind: 'tool_result' as const,
  callId,
  content: [text(said)],
  isError: false,
})

t.test('every call has its one result behind it, whatever the client sent', async (t) => {
  const user: Turn = { role: 'user', content: [text('hi')] }
  const cases: [string, Turn[], Turn[]][] = [
    [
      'as it should be',
      [user, { role: 'assistant', content: [call('a')] }, { role: 'user', content: [result('a')] }],
      [user, { role: 'assistant', content: [call('a')] }, { role: 'user', content: [result('a')] }],
    ],
    [
      'results in another order and behind words',
      [
        { role: 'assistant', content: [call('a'), call('b')] },
        { role: 'user', content: [text('so'), result('b'), result('a')] },
      ],
      [
        { role: 'assistant', content: [call('a'), call('b')] },
        { role: 'user', content: [result('a'), result('b'), text('so')] },
      ],
    ],
    [
      'a result without a call, and one twice',
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [result('x'), result('a'), result('a', 'again')] },
      ],
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [result('a')] },
      ],
    ],
    [
      'no result',
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [text('go on')] },
      ],
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [result('a', '[no output]'), text('go on')] },
      ],
    ],
    [
      'no result before the assistant goes on',
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'assistant', content: [text('well')] },
      ],
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [result('a', '[no output]')] },
        { role: 'assistant', content: [text('well')] },
      ],
    ],
    [
      'system words between call and result',
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'system', content: [text('be brief')] },
        { role: 'user', content: [result('a')] },
      ],
      [
        { role: 'assistant', content: [call('a')] },
        { role: 'user', content: [result('a')] },
        { role: 'system', content: [text('be brief')] },
      ],
    ],
    [
      'the last call waits for its result',
      [user, { role: 'assistant', content: [call('a')] }],
      [user, { role: 'assistant', content: [call('a')] }],
    ],
  ]
  for (const [name, turns, expected] of cases) t.same(pairedTurns(turns), expected, name)
})

t.test('neighbours of one role are one turn', async (t) => {
  const turns: Turn[] = [
    { role: 'user', content: [text('a')] },
    { role: 'user', content: [text('b')] },
    { role: 'assistant', content: [text('c')] },
  ]
  t.same(mergedTurns(turns), [
    { role: 'user', content: [text('a'), text('b')] },
    { role: 'assistant', content: [text('c')] },
  ])
})

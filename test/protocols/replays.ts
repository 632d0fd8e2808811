import type { ProtocolName } from '../../src/domain/call.ts'
import type { JsonObject } from '../../src/protocols/neutral.ts'
import { readEvents } from '../../src/protocols/sse.ts'

type Replay = (request: JsonObject, answer: JsonObject) => JsonObject
const list = (value: unknown) => value as JsonObject[]

/** How a client goes on after an answer that called the tool `call_1`: it sends back what it got, with the result behind it. */
export const REPLAYS: Record<ProtocolName, Replay> = {
  'anthropic-messages': ({ messages, ...rest }, { content }) => ({
    ...rest,
    messages: [
      ...list(messages),
      { role: 'assistant', content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: 'seen' }] },
    ],
  }),
  'openai-responses': ({ input, ...rest }, { output }) => ({
    ...rest,
    input: [...list(input), ...list(output), { type: 'function_call_output', call_id: 'call_1', output: 'seen' }],
  }),
  'openai-chat': ({ messages, ...rest }, { choices }) => ({
    ...rest,
    messages: [...list(messages), list(choices)[0]?.message, { role: 'tool', tool_call_id: 'call_1', content: 'seen' }],
  }),
  gemini: ({ contents, ...rest }, { candidates }) => ({
    ...rest,
    contents: [
      ...list(contents),
      list(candidates)[0]?.content,
      { role: 'user', parts: [{ functionResponse: { id: 'call_1', name: 'look', response: { output: 'seen' } } }] },
    ],
  }),
}

/** What a client has in its hands after a stream: the answer as it would have come whole. */
export const ASSEMBLED: Record<ProtocolName, (stream: Buffer) => JsonObject> = {
  'anthropic-messages': (stream) => ({ content: messageBlocks(eventsIn(stream)) }),
  'openai-responses': (stream) => eventsIn(stream).at(-1)?.response as JsonObject,
  'openai-chat': () => {
    throw new Error('its clients keep no signatures')
  },
  gemini: (stream) => {
    const contents = eventsIn(stream).map(({ candidates }) => list(candidates)[0]?.content as JsonObject)
    return { candidates: [{ content: { role: 'model', parts: contents.flatMap(({ parts }) => list(parts)) } }] }
  },
}

function eventsIn(stream: Buffer): JsonObject[] {
  return [...readEvents(stream.toString())].map(({ data }) => JSON.parse(data))
}

/** As Anthropic's SDK puts them together. */
function messageBlocks(events: JsonObject[]): JsonObject[] {
  const blocks: JsonObject[] = []
  for (const { type, content_block, delta } of events) {
    const block = blocks.at(-1) as { thinking: string; text: string; input: unknown; [key: string]: unknown }
    const { text, thinking, signature, partial_json } = (delta ?? {}) as Record<string, string>
    if (type === 'content_block_start') blocks.push(content_block as JsonObject)
    if (thinking !== undefined) block.thinking += thinking
    if (text !== undefined) block.text += text
    if (signature !== undefined) block.signature = signature
    if (partial_json !== undefined) block.input = JSON.parse(partial_json)
  }
  return blocks
}

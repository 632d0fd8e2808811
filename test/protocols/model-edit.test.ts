import t from 'tap'
import { openaiChat } from '../../src/protocols/openai-chat/index.ts'
import { openaiResponses } from '../../src/protocols/openai-responses/index.ts'
import type { CallFacts, Protocol } from '../../src/protocols/protocol.ts'

const FACTS = { requestedModel: 'gpt-asked' } as CallFacts

function edited(protocol: Protocol, stream: boolean, text: string, sent = 'sent-model'): string {
  const edit = protocol.answerEdit(FACTS, sent, stream)
  return edit ? edit(Buffer.from(text)).toString() : text
}

const event = (type: string, data: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
const named = (model: string) => ({
  response: { id: 'resp_1', model, output: [{ model: 'sent-model', é: '"model"' }] },
})

t.test('a response names the model that was asked for, wherever its stream names it', async (t) => {
  const stream = (model: string) =>
    event('response.created', named(model)) +
    event('response.output_text.delta', { delta: '"response":{"model":"sent-model"}' }) +
    `event: response.in_progress\r\ndata: ${JSON.stringify(named(model))}\r\n\r\n` +
    `data: {"type":"response.completed",\ndata: "response":{"model": "${model}"}}\n\n`
  t.equal(edited(openaiResponses, true, stream('sent-model')), stream('gpt-asked'))
  t.equal(edited(openaiResponses, true, stream('sent-model-2026')), stream('sent-model-2026'), 'its own word stays')
  t.equal(edited(openaiResponses, true, stream('gpt-asked'), 'gpt-asked'), stream('gpt-asked'))
})

t.test('in a chat each chunk names it', async (t) => {
  const chunk = (model: string) =>
    `data: {"id":"c","model":"${model}","choices":[{"delta":{"content":"sent-model"}}]}\n\n`
  const stream = (model: string) => `${chunk(model)}: x\n\n${chunk(model)}data: [DONE]\n\n`
  t.equal(edited(openaiChat, true, stream('sent-model')), stream('gpt-asked'))
})

t.test('a body names it at its top', async (t) => {
  const body = (model: string) => `{"output":[{"model":"sent-model"}], "model" : "${model}","usage":{}}`
  t.equal(edited(openaiResponses, false, body('sent-model')), body('gpt-asked'))
  t.equal(edited(openaiResponses, false, '<html>'), '<html>')
})

t.test('without a map bytes pass', async (t) => {
  t.equal(openaiResponses.answerEdit(FACTS, 'gpt-asked', true), null)
})

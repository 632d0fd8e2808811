import t from 'tap'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { parseResponses } from '../../../src/protocols/openai-responses/parse.ts'
import type { Headers } from '../../../src/protocols/protocol.ts'

const facts = (body: object | string, headers: Headers = {}) =>
  parseResponses(headers, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

const user = (text: unknown) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] })
const developer = (text: string) => ({ type: 'message', role: 'developer', content: [{ type: 'input_text', text }] })

t.test('what routing needs', async (t) => {
  t.match(facts({ model: 'gpt-5.5', input: 'hi' }), { requestedModel: 'gpt-5.5', stream: false, maxOutputTokens: null })
  t.match(facts({ model: 'm', stream: true, max_output_tokens: 50 }), { stream: true, maxOutputTokens: 50 })
  t.match(facts({ model: 'm', stream: null, max_output_tokens: null }), { stream: false, maxOutputTokens: null })
  t.match(facts('{"mod\\u0065l":"m","input":{"model":"x","stream":true}}'), { requestedModel: 'm', stream: false })
})

t.test('what cannot be routed is refused with the field’s name', async (t) => {
  const cases: [string | object, RegExp][] = [
    ['', /JSON object/],
    [{}, /^model: /],
    [{ model: 7 }, /^model: /],
    [{ model: '' }, /^model: /],
    [{ model: 'm'.repeat(257) }, /^model: /],
    [{ model: 'm', stream: 'yes' }, /^stream: /],
    [{ model: 'm', background: true }, /^background: /],
    ['{"model":"a","model":"b"}', /'model' twice/],
  ]
  for (const [body, words] of cases) {
    try {
      facts(body)
      t.fail(`${JSON.stringify(body)} was taken`)
    } catch (error) {
      t.ok(isGatewayError(error, 'invalid_request') && words.test(error.message), JSON.stringify(body))
    }
  }
})

t.test('the conversation by what Codex and SDKs say of it', async (t) => {
  const body = { model: 'm', prompt_cache_key: 'key', input: 'hi' }
  t.same(facts(body, { 'session-id': 'session' }).conversation(), { source: 'session-id', name: 'session' })
  t.same(facts(body).conversation(), { source: 'prompt_cache_key', name: 'key' })
  t.match(facts({ ...body, prompt_cache_key: 7 }).conversation(), { source: 'first words' })
})

t.test('else by what it began with: the same on every turn', async (t) => {
  const name = (body: object) => facts({ model: 'm', ...body }).conversation()?.name
  const first = name({ instructions: 'Be kind.', input: [developer('x'), user('one')] })
  t.equal(name({ instructions: 'Be kind.', tools: [{}], input: [developer('y'), user('one'), user('two')] }), first)
  t.not(name({ instructions: 'Be rude.', input: [user('one')] }), first)
  t.not(name({ instructions: 'Be kind.', input: [user('two')] }), first)
  t.equal(name({ instructions: 'Be kind.', input: 'one' }), first, 'a text is a user’s message')
  t.equal(name({ instructions: 'Be kind.', input: [{ role: 'user', content: 'one' }] }), first)
  for (const input of [undefined, null, 7, [], [null, 7, developer('x')]]) {
    t.equal(facts({ model: 'm', input }).conversation(), null)
  }
})

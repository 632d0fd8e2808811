import t from 'tap'
import type { Account, Credentials } from '../../../src/domain/account.ts'
import { isGatewayError } from '../../../src/domain/errors.ts'
import { openai } from '../../../src/providers/openai/index.ts'
import type { Forwarded, Operation } from '../../../src/providers/provider.ts'

const BACKEND = 'https://chatgpt.com/backend-api/codex'
const token: Credentials = { kind: 'oauth', accessToken: 'eyJ.tok.en', accountId: 'ws_1', expiresAtMs: null }

function built(operation: Operation, body: object | null, forwarded: Partial<Forwarded> = {}, credentials = token) {
  const account = { baseUrl: BACKEND, headers: {} } as Account
  const bytes = body && Buffer.from(JSON.stringify(body))
  const request = openai.request(operation, { headers: {}, query: '', ...forwarded }, account, credentials, bytes)
  const headers = Object.fromEntries(
    Array.from({ length: request.headers.length / 2 }, (_, i) => request.headers.slice(2 * i, 2 * i + 2)),
  )
  return { ...request, headers, bytes, sent: request.body && JSON.parse(request.body.toString()) }
}

const CODEX = { headers: { originator: 'codex_exec', accept: 'text/event-stream' } }

t.test('what Codex itself sends to ChatGPT’s backend goes there byte for byte', async (t) => {
  const body = { model: 'gpt-6.1-sol', stream: true, input: [], store: false, prompt_cache_key: 'x' }
  const request = built('messages', body, CODEX)
  t.equal(request.body, request.bytes, 'the same buffer')
  t.equal(request.path, '/responses')
  t.match(request.headers, {
    authorization: 'Bearer eyJ.tok.en',
    'chatgpt-account-id': 'ws_1',
    originator: 'codex_exec',
  })
  t.equal(request.dropped, undefined)
})

t.test('what others send is made to fit its rules, and what that leaves out is named', async (t) => {
  const { sent, dropped, headers } = built(
    'messages',
    {
      model: 'gpt-5.5',
      input: [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'hi' },
      ],
      temperature: 0.5,
      top_p: null,
      max_output_tokens: 100,
      user: 'u',
      store: true,
    },
    { headers: { accept: 'application/json' } },
  )
  t.same(sent, {
    model: 'gpt-5.5',
    input: [
      { role: 'developer', content: 'Be kind.' },
      { role: 'user', content: 'hi' },
    ],
    instructions: '',
    store: false,
    stream: true,
  })
  t.same(dropped, ['user', 'max_output_tokens', 'temperature'])
  t.equal(headers.accept, 'text/event-stream')
  t.match(built('messages', { model: 'm', input: 'hi', instructions: 'Be kind.' }).sent, {
    input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }],
    instructions: 'Be kind.',
  })
  t.same(built('messages', { model: 'm', stream: true, store: false, input: [], top_p: 1 }, CODEX).dropped, ['top_p'])
  const plain = { model: 'm', stream: true, store: false, input: [] }
  t.same(built('messages', plain).sent, { ...plain, instructions: '' }, 'only Codex may leave instructions out')
})

t.test('a body that is no JSON is the backend’s to refuse', async (t) => {
  for (const body of ['', '{', '[]', '{"a":tru}']) {
    const account = { baseUrl: BACKEND, headers: {} } as Account
    const bytes = Buffer.from(body)
    const request = openai.request('messages', { headers: {}, query: '' }, account, token, bytes)
    t.equal(request.body, bytes, body)
  }
})

t.test('its models are asked for in a version of Codex', async (t) => {
  t.equal(built('models', null, { query: '?limit=1000' }).path, '/models?limit=1000&client_version=0.169.0')
  t.equal(built('models', null, { query: '?client_version=1.0' }).path, '/models?client_version=1.0')
  const catalogue = { models: [{ slug: 'gpt-6.1-sol', display_name: 'GPT-6.1 Sol' }, { slug: 'gpt-5.5' }] }
  t.same(openai.readModels(Buffer.from(JSON.stringify(catalogue))), [
    { id: 'gpt-6.1-sol', displayName: 'GPT-6.1 Sol', createdAt: null, catalogueEntry: catalogue.models[0] },
    { id: 'gpt-5.5', displayName: null, createdAt: null, catalogueEntry: catalogue.models[1] },
  ])
})

t.test('where the backend always streams, and where a request decides', async (t) => {
  t.equal(openai.alwaysStreams?.({ baseUrl: BACKEND } as Account), true)
  t.equal(openai.alwaysStreams?.({ baseUrl: 'https://api.openai.com/v1' } as Account), false)
})

t.test('a format that it does not speak is not made up', async (t) => {
  try {
    built('compact', {}, { protocol: 'openai-chat' })
    t.fail('it was made')
  } catch (error) {
    t.ok(isGatewayError(error, 'not_supported'))
  }
  t.equal(built('messages', {}, { protocol: 'openai-chat' }).path, '/chat/completions')
  t.same(openai.speaks({ baseUrl: BACKEND } as Account), ['openai-responses'])
  t.same(openai.speaks({ baseUrl: 'https://api.openai.com/v1' } as Account), ['openai-responses', 'openai-chat'])
})

t.test('what belongs to the client, or to another account, stays here', async (t) => {
  const headers = {
    'openai-organization': 'org-1',
    'openai-project': 'proj_1',
    'chatgpt-account-id': 'ws_of_the_client',
    'x-codex-turn-state': 'sticky',
    'x-openai-account-routing-override': 'us',
  }
  const sent = built('messages', { model: 'm', input: [] }, { headers }).headers
  t.equal(sent['chatgpt-account-id'], 'ws_1')
  t.same(Object.keys(sent).sort(), ['accept', 'accept-encoding', 'authorization', 'chatgpt-account-id'])
})

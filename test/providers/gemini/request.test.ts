import t from 'tap'
import type { Account, Credentials } from '../../../src/domain/account.ts'
import { gemini } from '../../../src/providers/gemini/index.ts'
import type { Forwarded, Operation } from '../../../src/providers/provider.ts'

const KEY: Credentials = { kind: 'api_key', apiKey: 'k' }
const LOGIN: Credentials = { kind: 'oauth', accessToken: 'ya29.x', accountId: 'a-project', expiresAtMs: null }
const BODY = Buffer.from('{"contents":[]}')
const at = (baseUrl: string) => ({ baseUrl, headers: {} }) as unknown as Account
const AI_STUDIO = at(gemini.defaultBaseUrl)
const CODE_ASSIST = at(gemini.oauthBaseUrl as string)

const path = (forwarded: Partial<Forwarded>, operation: Operation = 'messages', account = AI_STUDIO) =>
  gemini.request(operation, { headers: {}, query: '', ...forwarded }, account, KEY, BODY).path

t.test('a client’s own path and query go on, but for the model where a map changes it, and its key', async (t) => {
  const STREAM = '/v1/models/fast:streamGenerateContent'
  t.equal(path({ path: `${STREAM}?alt=sse`, query: '?alt=sse' }), `${STREAM}?alt=sse`)
  t.equal(path({ path: STREAM, query: '?key=secret&alt=sse&x=%20' }), `${STREAM}?alt=sse&x=%20`)
  t.equal(path({ path: STREAM, query: '?key=secret' }), STREAM)
  t.equal(path({ path: STREAM, model: 'gemini-3.8-flash' }), '/v1/models/gemini-3.8-flash:streamGenerateContent')
  t.equal(path({ path: '/antigravity/v1alpha/models/a%2Fb:embedContent' }), '/v1alpha/models/a%2Fb:embedContent')
})

t.test('a translated request goes where its model and its stream say', async (t) => {
  const model = 'gemini-3.8-flash'
  t.equal(
    path({ model, stream: true, query: '?beta=true' }),
    '/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse',
  )
  t.equal(path({ model, stream: false }), '/v1beta/models/gemini-3.8-flash:generateContent')
  t.equal(path({ model }, 'count_tokens'), '/v1beta/models/gemini-3.8-flash:countTokens')
  t.throws(() => path({}), { code: 'not_supported' })
})

t.test('a model list is asked for in Google’s words', async (t) => {
  t.equal(path({ query: '?limit=1000' }, 'models'), '/v1beta/models?pageSize=1000')
})

t.test('with a Google login calls go to Code Assist, in its envelope', async (t) => {
  const model = 'gemini-3.8-flash'
  const request = (operation: Operation) =>
    gemini.request(operation, { headers: {}, query: '', model, stream: true }, CODE_ASSIST, LOGIN, BODY)
  const { path, headers, body, method } = request('messages')
  t.same([method, path], ['POST', ':streamGenerateContent?alt=sse'])
  t.same(JSON.parse(String(body)), { model, project: 'a-project', request: { contents: [] } })
  t.same(headers.slice(headers.indexOf('authorization')).slice(0, 2), ['authorization', 'Bearer ya29.x'])
  t.equal(request('count_tokens').path, ':countTokens')
  t.same([request('models').path, String(request('models').body)], [':retrieveUserQuota', '{"project":"a-project"}'])
  t.ok(gemini.unwrap?.(CODE_ASSIST, true))
  t.equal(gemini.unwrap?.(AI_STUDIO, true), null)
  const NOW_MS = Date.UTC(2026, 10, 27)
  const resetAtMs = Date.UTC(2026, 10, 28)
  const bucket = { modelId: model, remainingFraction: 0.25, resetTime: '2026-11-28T00:00:00Z', tokenType: 'REQUESTS' }
  t.same(gemini.readListedWindows?.(Buffer.from(JSON.stringify({ buckets: [bucket, 7, {}] })), NOW_MS), [
    {
      ...{ name: 'gemini_3_8_flash', used: 0.75, resetAtMs, lengthMs: null, models: [model] },
      ...{ source: 'models', sampledAtMs: NOW_MS },
    },
  ])
  for (const body of ['', '{}', '{"models":[]}', '{"buckets":7}']) {
    t.same(gemini.readListedWindows?.(Buffer.from(body), NOW_MS), [], body)
  }
  const quotas = { buckets: [{ modelId: model }, { modelId: model }, { modelId: 'gemini-3.1-pro-preview' }] }
  t.same(
    gemini.readModels(Buffer.from(JSON.stringify(quotas))).map(({ id }) => id),
    [model, 'gemini-3.1-pro-preview'],
  )
})

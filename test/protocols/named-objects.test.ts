import t from 'tap'
import { anthropicNamed } from '../../src/protocols/anthropic-messages/named.ts'
import { geminiNamed } from '../../src/protocols/gemini/named.ts'
import { scanForm } from '../../src/protocols/multipart.ts'
import { openaiNamed } from '../../src/protocols/openai/named.ts'

const body = (value: unknown) => Buffer.from(JSON.stringify(value))
const ids = (named: { id: string }[]) => named.map(({ id }) => id).join(' ')

const anthropic = (value: unknown) => ids(anthropicNamed.nested(body(value)))
const openai = (value: unknown) => ids(openaiNamed.nested(body(value)))
const gemini = (value: unknown) => ids(geminiNamed.nested(body(value)))

const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })
const assistant = (content: unknown) => ({ messages: [{ role: 'assistant', content }] })

t.test('files are found wherever a request uses them', async (t) => {
  const document = { type: 'document', source: { type: 'file', file_id: 'file_1' } }
  t.equal(anthropic(user([document, { type: 'container_upload', file_id: 'file_2' }])), 'file_1 file_2')
  t.equal(anthropic(user([{ type: 'tool_result', content: [document] }])), 'file_1', 'what a tool of the user’s gives')
  const input = [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }]
  const tools = [{ type: 'code_interpreter', container: { type: 'auto', file_ids: ['file-2', 'file-3'] } }]
  t.equal(openai({ input, tools }), 'file-1 file-2 file-3')
  const result = { type: 'function_call_output', output: [{ type: 'input_image', file_id: 'file-4' }] }
  t.equal(openai({ input: [result] }), 'file-4')
  t.equal(openai({ input_file_id: 'file-5', endpoint: '/v1/responses' }), 'file-5')
  t.equal(openai({ prompt: { variables: { a: { type: 'input_file', file_id: 'file-6' } } } }), 'file-6')
})

t.test('stored answers and their items are found, at the top and in the lines of a batch', async (t) => {
  const request = { previous_response_id: 'resp_1', conversation: { id: 'conv_1' }, input: 'go on' }
  t.equal(ids(openaiNamed.all(body(request))), 'resp_1 conv_1')
  const lines = Buffer.from(
    [request, { input: [{ type: 'item_reference', id: 'msg_1' }] }]
      .map((one) => JSON.stringify({ body: one }))
      .join('\n'),
  )
  t.equal(ids(openaiNamed.lines(lines)), 'resp_1 conv_1 msg_1')
  t.throws(() => openaiNamed.lines(Buffer.from('{}\n\n{"a":}\n')), { message: /^line 3 of the file is not valid JSON/ })
  for (const item of [{ type: 'item_reference', id: 'msg_1' }, { id: 'msg_1' }, { type: null, id: 'msg_1' }]) {
    t.equal(openai({ input: [item] }), 'msg_1', JSON.stringify(item))
  }
  const own = { type: 'message', id: 'msg_1', role: 'assistant', content: [{ type: 'output_text', text: 'hi' }] }
  t.equal(openai({ input: [own, { role: 'user', content: 'hi' }] }), '', 'an item that is there itself')
  const params = { container: 'container_1', messages: [] }
  t.equal(ids(anthropicNamed.all(body({ requests: [{ custom_id: 'a', params }] }))), 'container_1')
})

t.test('what an earlier turn has put out or quoted asks for nothing', async (t) => {
  const output = { type: 'bash_code_execution_output', file_id: 'file_1' }
  const result = { type: 'bash_code_execution_tool_result', tool_use_id: 'srvtoolu_1', content: { content: [output] } }
  t.equal(anthropic(assistant([result])), '')
  const citations = [{ type: 'char_location', cited_text: 'x', file_id: 'file_1' }]
  t.equal(anthropic(assistant([{ type: 'text', text: 'x', citations }])), '')
  const annotations = [{ type: 'container_file_citation', container_id: 'cntr_1', file_id: 'cfile_1' }]
  t.equal(openai({ input: [{ content: [{ type: 'output_text', text: 'x', annotations }] }] }), '')
  t.equal(openai({ input: [{ type: 'file_search_call', results: [{ file_id: 'file-1' }] }] }), '')
})

t.test('a tool’s own words ask for nothing', async (t) => {
  const input = { file_id: '1AbCdrive', fileUri: 'src/a.ts' }
  t.equal(anthropic(assistant([{ type: 'tool_use', id: 't', name: 'drive', input }])), '')
  t.equal(
    anthropic({ tools: [{ name: 'x', input_schema: { properties: { file_id: {} } }, input_examples: [input] }] }),
    '',
  )
  t.equal(anthropic(user('const a = {"file_id": "file_9"} // "file_id"')), '')
  t.equal(anthropic(user('it ends in "file_id')), '')
  t.equal(openai({ metadata: { file_id: 'x' }, tools: [{ parameters: { properties: { file_id: {} } } }] }), '')
  const parts = [
    { functionCall: { name: 'read', args: { fileUri: 'src/a.ts', file_name: 'report.pdf' } } },
    { functionResponse: { name: 'read', response: { fileName: 'main.py', fileUri: 'files/a' } } },
  ]
  t.equal(gemini({ contents: [{ parts }] }), '')
  t.equal(
    gemini({ tools: [{ functionDeclarations: [{ parametersJsonSchema: { properties: { fileUri: {} } } }] }] }),
    '',
  )
})

t.test('what two readers could take for two things is refused', async (t) => {
  const refused = (finder: typeof anthropicNamed, text: string) =>
    t.throws(() => finder.nested(Buffer.from(text)), { code: 'invalid_request' }, text)
  refused(anthropicNamed, '{"file_id":"theirs","file_id":"mine"}')
  refused(anthropicNamed, '{"file_id":"theirs","\\u0066ile_id":"mine"}')
  refused(anthropicNamed, '{"a":{"type":"document","type":"x_tool_result","content":{"file_id":"theirs"}}}')
  refused(anthropicNamed, '{"file_id":"theirs",}')
  refused(anthropicNamed, `{"a":${'['.repeat(600)}"file_id"${']'.repeat(600)}}`)
  t.throws(() => openaiNamed.all(Buffer.from('{"conversation":{"id":"theirs","id":"mine"}}')), {
    message: /'id' twice/,
  })
  t.equal(ids(anthropicNamed.nested(Buffer.from('{"file\\u005fid":"theirs"}'))), 'theirs', 'an escape hides nothing')
  for (const lax of [
    "{'fileUri':'files/a'}",
    '{fileUri:"files/a"}',
    '{"fileUr\\i":"files/a"}',
    '{"f\\x69leUri":"files/a"}',
  ]) {
    refused(geminiNamed, lax)
  }
  t.throws(() => openaiNamed.all(Buffer.from('{"input_file_id":"theirs"}', 'utf16le')), { code: 'invalid_request' })
  t.throws(() => openaiNamed.all(Buffer.from('input_file_id=theirs')), { code: 'invalid_request' })
  const many = Array.from({ length: 1001 }, (_, index) => `file-${index}`)
  t.throws(() => openai({ file_ids: many }), { message: /more than 1000/ })
  t.equal(openai({ file_ids: many.slice(1) }).split(' ').length, 1000)
})

t.test('fields of a form are found, in brackets too', async (t) => {
  const form = new FormData()
  form.set('prompt', 'a cat with "file_id"')
  form.set('input_reference[file_id]', 'file-1')
  form.append('images[0][file_id]', 'file-2')
  form.append('image', new Blob(['{"file_id":"file-3"}']), 'a.png')
  const sent = new Response(form)
  const type = sent.headers.get('content-type') as string
  const scanned = scanForm(type, Buffer.from(await sent.arrayBuffer()), new Set())
  t.same(openaiNamed.form(scanned), [
    { field: 'input_reference[file_id]', id: 'file-1' },
    { field: 'images[0][file_id]', id: 'file-2' },
  ])
})

t.test('Google’s files are told from the rest of the world, in every spelling', async (t) => {
  const uri = (fileUri: string) => gemini({ contents: [{ parts: [{ fileData: { fileUri } }] }] })
  const base = 'https://generativelanguage.googleapis.com'
  for (const spelt of [
    `${base}/v1beta/files/abc`,
    `${base}/v1/files/abc?alt=media`,
    `${base}/download/v1beta/files/abc`,
    `${base}:443/v1beta/%66iles/abc`,
    'HTTPS://GenerativeLanguage.GoogleAPIs.com/v1alpha/files/abc',
    'https://generativelanguage.googleapis.com./v1beta/files/abc',
    'http://127.0.0.1:8080/prefix/v1beta/files/abc',
    'files/abc',
  ]) {
    t.equal(uri(spelt), 'files/abc', spelt)
  }
  for (const elsewhere of [
    'https://www.youtube.com/watch?v=9hE5-98ZeCg',
    'https://example.com/files/report.pdf',
    'https://storage.googleapis.com/bucket/files/report.pdf',
    'gs://bucket/files/abc',
  ]) {
    t.equal(uri(elsewhere), '', elsewhere)
  }
  for (const strange of ['https://x.googleapis.com/files/abc', '../files/abc']) {
    t.equal(uri(strange), strange, 'nobody has such a thing')
  }
  t.equal(
    gemini({ contents: [{ parts: [{ file_data: { file_uri: 'files/a' } }] }], cached_content: 'cachedContents/b' }),
    'files/a cachedContents/b',
  )
  t.equal(ids(geminiNamed.all(body({ batch: { inputConfig: { fileName: 'files/c' } } }))), 'files/c')
})

t.test('no bytes make it throw anything else', async () => {
  const alphabet = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    'file_id',
    '"file_id"',
    '\\u0066',
    'x',
    '1',
    ' ',
    '\\"',
    '\n',
  ]
  let seed = 7
  const random = (max: number) => {
    seed = (seed * 48271) % 2147483647
    return seed % max
  }
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join('')
    for (const find of [anthropicNamed.nested, openaiNamed.lines, geminiNamed.all]) {
      try {
        find(Buffer.from(text))
      } catch (error) {
        if ((error as { code?: string }).code !== 'invalid_request') throw new Error(`${text}: ${error}`)
      }
    }
  }
})

import t from 'tap'
import { anthropicNamed } from '../../src/protocols/anthropic-messages/named.ts'
import { geminiNamed } from '../../src/protocols/gemini/named.ts'
import { openaiNamed } from '../../src/protocols/openai/named.ts'

const body = (value: unknown) => Buffer.from(JSON.stringify(value))
const ids = (named: { id: string }[]) => named.map(({ id }) => id).join(' ')

t.test('files are found wherever a request uses them', async (t) => {
  const source = { type: 'document', source: { type: 'file', file_id: 'file_1' } }
  const messages = [{ role: 'user', content: [source, { type: 'container_upload', file_id: 'file_2' }] }]
  t.same(anthropicNamed(body({ messages })), [
    { field: 'file_id', id: 'file_1' },
    { field: 'file_id', id: 'file_2' },
  ])
  const input = [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }]
  const tools = [{ type: 'code_interpreter', container: { type: 'auto', file_ids: ['file-2', 'file-3'] } }]
  t.equal(ids(openaiNamed(body({ input, tools }))), 'file-1 file-2 file-3')
  t.equal(ids(openaiNamed(body({ input_file_id: 'file-4', endpoint: '/v1/responses' }))), 'file-4')
})

t.test('what an earlier turn has put out or quoted asks for nothing', async (t) => {
  const output = { type: 'bash_code_execution_output', file_id: 'file_1' }
  t.same(anthropicNamed(body({ messages: [{ role: 'assistant', content: [output] }] })), [])
  const annotations = [{ type: 'container_file_citation', container_id: 'cntr_1', file_id: 'cfile_1' }]
  t.same(openaiNamed(body({ input: [{ content: [{ type: 'output_text', text: 'x', annotations }] }] })), [])
})

t.test('words that are no fields are left alone', async (t) => {
  const tool = { name: 'x', input_schema: { properties: { file_id: { type: 'string' } }, required: ['file_id'] } }
  const text = 'const a = {"file_id": "file_9"} // "file_id"'
  t.same(anthropicNamed(body({ tools: [tool], messages: [{ role: 'user', content: text }] })), [])
  t.same(anthropicNamed(Buffer.from('{"a":"\\u0041 \\\\u0066ile_id"}')), [], 'nor escapes elsewhere')
})

t.test('what two readers could take for two things is refused', async (t) => {
  const refused = (text: string) => t.throws(() => anthropicNamed(Buffer.from(text)), { code: 'invalid_request' }, text)
  refused('{"file_id":"theirs","file_id":"mine"}')
  refused('{"a":{"file_id":"theirs","x":1,"file_id":"mine"},"b":{"file_id":"mine"}}')
  refused('{"file\\u005fid":"theirs"}')
  refused('{"file_id":"theirs","\\u0066ile_id":"mine"}')
  refused('{"\\u0066\\u0069\\u006c\\u0065\\u005f\\u0069\\u0064":"theirs"}')
  refused('{"file_id":"theirs",}')
  t.same(anthropicNamed(Buffer.from('{"a":"\\u0041","file_id":"mine"}')), [{ field: 'file_id', id: 'mine' }])
})

t.test('Google’s files are told from the rest of the world, in every spelling', async (t) => {
  const uri = (fileUri: string) => ids(geminiNamed(body({ contents: [{ parts: [{ fileData: { fileUri } }] }] })))
  const base = 'https://generativelanguage.googleapis.com'
  for (const spelt of [
    `${base}/v1beta/files/abc`,
    `${base}/v1/files/abc?alt=media`,
    `${base}:443/v1beta/%66iles/abc`,
    'HTTPS://GenerativeLanguage.GoogleAPIs.com/v1alpha/files/abc',
    'http://127.0.0.1:8080/v1beta/files/abc',
    'files/abc',
  ]) {
    t.equal(uri(spelt), 'files/abc', spelt)
  }
  t.equal(uri('https://www.youtube.com/watch?v=9hE5-98ZeCg'), '')
  t.equal(uri('https://example.com/files/report.pdf'), '')
  t.equal(uri('gs://bucket/files/abc'), '')
  t.equal(uri(`${base}/download/v1beta/files/abc`), `${base}/download/v1beta/files/abc`, 'nobody has such a thing')
  const snake = { contents: [{ parts: [{ file_data: { file_uri: 'files/a' } }] }], cached_content: 'cachedContents/b' }
  t.equal(ids(geminiNamed(body(snake))), 'files/a cachedContents/b')
  t.equal(ids(geminiNamed(body({ batch: { inputConfig: { fileName: 'files/c' } } }))), 'files/c')
})

t.test('no bytes make it throw anything else', async () => {
  const alphabet = ['{', '}', '[', ']', '"', ':', ',', '\\', 'file_id', '"file_id"', '\\u0066', 'x', '1', ' ', '\\"']
  let seed = 7
  const random = (max: number) => {
    seed = (seed * 48271) % 2147483647
    return seed % max
  }
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join('')
    try {
      anthropicNamed(Buffer.from(text))
    } catch (error) {
      if ((error as { code?: string }).code !== 'invalid_request') throw new Error(`${text}: ${error}`)
    }
  }
})

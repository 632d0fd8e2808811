import t from 'tap'
import { IMAGE, SOUND } from '../../src/demo/media.ts'
import { ACCOUNTS } from '../support/accounts.ts'
import { startGateway } from '../support/gateway.ts'
import { googleSdk, openaiSdk } from './install.ts'

// The first run fetches the SDKs.
t.setTimeout(300_000)

// The packages are not there when types are checked, so what they export is untyped here.
const { default: OpenAI, toFile } = await import(await openaiSdk())
const { GoogleGenAI } = await import(await googleSdk())

const gw = await startGateway(t, {
  setUp: async (site) => {
    const scene = (kind: 'openai' | 'gemini', more: object = {}) =>
      site.scene({ accounts: [{ ...ACCOUNTS[kind](site.upstream.url), models: ['*'], ...more }] })
    return {
      openai: await scene('openai'),
      gemini: await scene('gemini'),
      cut: await scene('openai', { elsewhere: { breaks: { after: 1, how: 'clean_end' }, eventDelayMs: 20 } }),
      reset: await scene('openai', {
        elsewhere: { body: `{"data":["${'x'.repeat(3_000_000)}"]}`, breaks: { after: 2_000_000, how: 'reset' } },
      }),
    }
  },
})
const openaiAt = (scene: 'openai' | 'cut' | 'reset') =>
  new OpenAI({ baseURL: `${gw.url}/v1`, apiKey: gw.scenes[scene].key, maxRetries: 0 })
const openai = openaiAt('openai')
const googleAs = (vertexai: boolean) =>
  new GoogleGenAI({ vertexai, apiKey: gw.scenes.gemini.key, httpOptions: { baseUrl: gw.url } })
const sound = () => toFile(SOUND, 'a.mp3', { type: 'audio/mpeg' })
const image = { model: 'gpt-image-1', prompt: 'a cat' }

async function typesOf(stream: AsyncIterable<{ type: string }>): Promise<string[]> {
  const types: string[] = []
  for await (const { type } of stream) types.push(type)
  return types
}

t.test('OpenAI’s SDK gets completions, moderations, images, sounds and transcripts', async (t) => {
  const prompt = { model: 'gpt-4o-mini', prompt: 'count' }
  t.match(await openai.completions.create(prompt), { choices: [{ text: 'You said: count' }] })
  let text = ''
  for await (const chunk of await openai.completions.create({ ...prompt, stream: true })) text += chunk.choices[0].text
  t.equal(text, 'You said: count')
  t.match(await openai.moderations.create({ input: 'hi' }), { results: [{ flagged: false }] })
  t.match(await openai.images.generate(image), { data: [{ b64_json: IMAGE }] })
  t.same(await typesOf(await openai.images.generate({ ...image, stream: true })), [
    'image_generation.partial_image',
    'image_generation.completed',
  ])
  t.match(await openai.images.edit({ ...image, image: await sound() }), { data: [{ b64_json: IMAGE }] })
  t.match(await openai.images.createVariation({ model: 'dall-e-2', image: await sound() }), { data: [{}] })
  const speech = { model: 'gpt-4o-mini-tts', input: 'hi', voice: 'alloy' }
  const spoken = await openai.audio.speech.create(speech)
  t.ok(Buffer.from(await spoken.arrayBuffer()).equals(SOUND))
  const heard = { model: 'gpt-4o-transcribe', file: await sound() }
  t.match(await openai.audio.transcriptions.create(heard), { text: /wildest/, usage: { type: 'tokens' } })
  t.equal(
    (await typesOf(await openai.audio.transcriptions.create({ ...heard, stream: true }))).at(-1),
    'transcript.text.done',
  )
  const inText = await openai.audio.transcriptions.create({ ...heard, response_format: 'text' })
  t.match(inText, /wildest/)
  t.match(await openai.audio.translations.create({ ...heard, model: 'whisper-1' }), { text: /wildest/ })
})

t.test('what is cut is an error to it', async (t) => {
  const streamed = openaiAt('cut').images.generate({ ...image, stream: true })
  const error = await streamed.then(typesOf).catch((reason: unknown) => reason)
  t.ok(error instanceof OpenAI.APIError)
  await t.rejects(openaiAt('reset').images.generate(image))
})

t.test('Google’s SDK gets vectors and images', async (t) => {
  t.match(await googleAs(false).models.embedContent({ model: 'gemini-embedding-001', contents: 'hi' }), {
    embeddings: [{ values: [0.25, -0.5] }],
  })
  // It makes images in Vertex's form alone.
  const made = await googleAs(true).models.generateImages({ model: 'imagen-4.0-generate-001', prompt: 'a cat' })
  t.match(made, { generatedImages: [{ image: { imageBytes: IMAGE } }] })
  t.match(gw.upstream.seen.at(-1)?.path, /^\/v1beta\/models\/imagen-4\.0-generate-001:predict/)
  t.ok((await gw.settled()).every(({ outcome }) => outcome === 'complete' || outcome === 'upstream_cut'))
})

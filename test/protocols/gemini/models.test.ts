import t from 'tap'
import { renderGeminiModel, renderGeminiModels } from '../../../src/protocols/gemini/models.ts'

const models = Array.from({ length: 120 }, (_, n) => ({ id: `gemini-${n}`, displayName: null, createdAt: null }))

const list = (query: string) => {
  const { models: page, nextPageToken } = JSON.parse(renderGeminiModels(models, query).toString())
  return [page[0]?.name, page.length, nextPageToken]
}

t.test('a model list comes in pages', async (t) => {
  t.same(list(''), ['models/gemini-0', 50, 'gemini-49'])
  t.same(list('?pageToken=gemini-49'), ['models/gemini-50', 50, 'gemini-99'])
  t.same(list('?pageToken=gemini-99&pageSize=20'), ['models/gemini-100', 20, undefined])
  t.same(list('?pageSize=1000'), ['models/gemini-0', 120, undefined])
  t.same(list('?pageSize=-1'), ['models/gemini-0', 1, 'gemini-0'])
  t.same(list('?pageToken=gone'), [undefined, 0, undefined])
})

t.test('a model has Google’s name and ours', async (t) => {
  const named = { id: 'claude-opus-5-5', displayName: 'Claude Opus 5.5', createdAt: null }
  t.same(JSON.parse(renderGeminiModel(named).toString()), {
    name: 'models/claude-opus-5-5',
    displayName: 'Claude Opus 5.5',
    supportedGenerationMethods: ['generateContent', 'countTokens'],
  })
  t.match(JSON.parse(renderGeminiModel({ ...named, displayName: null }).toString()), { displayName: 'claude-opus-5-5' })
})

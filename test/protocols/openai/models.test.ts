import t from 'tap'
import { renderOpenaiModel, renderOpenaiModels } from '../../../src/protocols/openai/models.ts'

const entry = { slug: 'gpt-6.1-sol', display_name: 'GPT-6.1 Sol', model_messages: { instructions_template: 'You are' } }
const MODELS = [
  { id: 'gpt-6.1-sol', displayName: 'GPT-6.1 Sol', createdAt: null, catalogueEntry: entry },
  { id: 'gpt-5.5', displayName: null, createdAt: '2026-04-23T00:00:00.000Z' },
]
const render = (query: string) => JSON.parse(renderOpenaiModels(MODELS, query).toString())

t.test('a model list as OpenAI has it', async (t) => {
  const [sol, other] = [
    { id: 'gpt-6.1-sol', object: 'model', created: 0, owned_by: 'subgate' },
    { id: 'gpt-5.5', object: 'model', created: 1_776_902_400, owned_by: 'subgate' },
  ]
  t.same(render(''), { object: 'list', data: [sol, other] })
  t.same(JSON.parse(renderOpenaiModel(MODELS[1] as (typeof MODELS)[1]).toString()), other)
})

t.test('Codex gets its catalogue, with the entries that their vendor made and no others', async (t) => {
  t.same(render('?client_version=0.169.0'), { models: [entry] })
})

import t from 'tap'
import { renderMessagesModel, renderMessagesModels } from '../../../src/protocols/anthropic-messages/models.ts'
import type { ServedModel } from '../../../src/protocols/protocol.ts'

const models: ServedModel[] = Array.from({ length: 45 }, (_, i) => ({
  id: `claude-${i}`,
  displayName: i === 0 ? 'Claude Zero' : null,
  createdAt: i === 0 ? '2026-10-07T00:00:00Z' : null,
}))

interface Page {
  data: { type: string; id: string; display_name: string; created_at: string }[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}
const page = (query: string, list = models) => JSON.parse(renderMessagesModels(list, query).toString()) as Page

t.test('a model says what is known of it, in Anthropic’s shape', async (t) => {
  t.same(JSON.parse(renderMessagesModel(models[0] as ServedModel).toString()), {
    type: 'model',
    id: 'claude-0',
    display_name: 'Claude Zero',
    created_at: '2026-10-07T00:00:00Z',
  })
  t.match(page('?limit=2').data[1], { id: 'claude-1', display_name: 'claude-1', created_at: '1970-01-01T00:00:00Z' })
})

t.test('pages forward and backward hold every model once', async (t) => {
  const forward: string[] = []
  for (let query = '?limit=10', more = true; more; ) {
    const { data, has_more, last_id } = page(query)
    forward.push(...data.map(({ id }) => id))
    query = `?limit=10&after_id=${last_id}`
    more = has_more
  }
  const ids = models.map(({ id }) => id)
  t.same(forward, ids)
  const backward: string[] = []
  for (let query = '?limit=10&before_id=claude-44', more = true; more; ) {
    const { data, has_more, first_id } = page(query)
    backward.unshift(...data.map(({ id }) => id))
    query = `?limit=10&before_id=${first_id}`
    more = has_more
  }
  t.same(backward, ids.slice(0, -1))
})

t.test('whatever is asked for, a page has its limits', async (t) => {
  const lengths = [
    '',
    '?',
    '?limit=abc',
    '?limit=0',
    '?limit=-5',
    '?limit=2.9',
    '?limit=Infinity',
    '?limit=1000&beta=true',
  ]
  t.same(
    lengths.map((query) => page(query).data.length),
    [20, 20, 20, 20, 1, 2, 45, 45],
  )
  t.match(page('?limit=44'), { has_more: true, first_id: 'claude-0', last_id: 'claude-43' })
  t.match(page('?limit=45'), { has_more: false })
  t.same(page('', []), { data: [], has_more: false, first_id: null, last_id: null })
})

t.test('behind a model that is not on the list there is nothing, so that no pager goes in circles', async (t) => {
  const nothing = { data: [], has_more: false, first_id: null, last_id: null }
  t.same(page('?after_id=gone'), nothing)
  t.same(page('?before_id=gone'), nothing)
  t.same(page('?before_id=claude-0'), nothing)
  t.same(page('?after_id=claude-44'), nothing)
})

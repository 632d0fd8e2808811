import { openaiErrorBody } from './chat.ts'
import type { JsonBody } from './formats.ts'
import type { FakeMessage } from './messages.ts'
import { responsesEvents, unfinished, whole } from './responses.ts'
import { type FakeAnswer, json, type ObjectCall, type Route, Shelf } from './shelf.ts'

/** An answer that was given, and what was asked for it. */
interface Stored {
  id: string
  /** Without its prefix, as the builders of answers take it. */
  number: string
  asked: JsonBody
  message: FakeMessage
  /** One that is made in the background is there when it is looked at a second time. */
  looks: number
  cancelled: boolean
}

/** Few, as each holds a request. */
const STORED_MAX = 1_000

/** OpenAI's answers that can be asked for, answered to, and deleted later. */
export class StoredResponses {
  readonly #stored = new Shelf<Stored>(STORED_MAX)

  readonly routes: Route[] = [
    ['GET', /^\/responses\/([^/]+)$/, (call, id) => this.#with(call, id, (stored) => lookAt(stored, call))],
    ['GET', /^\/responses\/([^/]+)\/input_items$/, (call, id) => this.#with(call, id, (it) => inputItems(it, call))],
    ['POST', /^\/responses\/([^/]+)\/cancel$/, (call, id) => this.#with(call, id, cancel)],
    [
      'DELETE',
      /^\/responses\/([^/]+)$/,
      (call, id) =>
        this.#with(call, id, () => {
          this.#stored.delete(call.account, id)
          return json({ id, object: 'response', deleted: true })
        }),
    ],
  ]

  keep(account: string, asked: JsonBody, message: FakeMessage, number: string): void {
    if (asked?.store === false) return
    this.#stored.put(account, { id: `resp_${number}`, number, asked, message, looks: 0, cancelled: false })
  }

  /** Null unless the body goes on from an answer that the account does not have. */
  refusal({ account }: ObjectCall, body: JsonBody): FakeAnswer | null {
    const id = body?.previous_response_id
    if (typeof id !== 'string' || this.#stored.get(account, id)) return null
    const message = `Previous response with id '${id}' not found.`
    const error = ['invalid_request_error', message, 'previous_response_id', 'previous_response_not_found'] as const
    return { status: 400, body: openaiErrorBody(...error) }
  }

  #with({ account }: ObjectCall, id: string, then: (stored: Stored) => FakeAnswer): FakeAnswer {
    const stored = this.#stored.get(account, id)
    if (stored) return then(stored)
    return { status: 404, body: openaiErrorBody('invalid_request_error', `Response with id '${id}' not found.`) }
  }
}

function lookAt(stored: Stored, { query }: ObjectCall): FakeAnswer {
  stored.looks++
  if (query.get('stream') !== 'true') return json(responseOf(stored))
  const from = query.has('starting_after') ? Number(query.get('starting_after')) + 1 : 0
  const events = responsesEvents(stored.message, stored.number, stored.asked).slice(from)
  return { headers: { 'content-type': 'text/event-stream; charset=utf-8' }, body: events.join('') }
}

function responseOf({ message, number, asked, looks, cancelled }: Stored): object {
  if (cancelled) return unfinished(message, number, asked, 'cancelled')
  const isThere = asked?.background !== true || looks > 1
  return isThere ? whole(message, number, asked) : unfinished(message, number, asked, 'in_progress')
}

function cancel(stored: Stored): FakeAnswer {
  if (stored.asked?.background !== true) {
    return { status: 400, body: openaiErrorBody('invalid_request_error', 'Cannot cancel a synchronous response.') }
  }
  stored.cancelled ||= stored.looks < 2
  return json(responseOf(stored))
}

function inputItems({ asked, number }: Stored, { query }: ObjectCall): FakeAnswer {
  const input = typeof asked?.input === 'string' ? [{ role: 'user', content: asked.input }] : (asked?.input ?? [])
  const items = input.map((item: JsonBody, index: number) => ({
    id: `msg_${number}_${index}`,
    ...(item.role !== undefined && { type: 'message', status: 'completed' }),
    ...item,
    ...(typeof item.content === 'string' && { content: [{ type: 'input_text', text: item.content }] }),
  }))
  return openaiPage(items, query, { limit: 20 })
}

/** A list in the order that was asked for, from items that come newest last. */
export function openaiPage(
  oldestFirst: { id: string }[],
  query: URLSearchParams,
  { limit }: { limit: number },
): FakeAnswer {
  const items = query.get('order') === 'asc' ? oldestFirst : oldestFirst.toReversed()
  const after = query.get('after')
  const rest = after ? items.slice(items.findIndex(({ id }) => id === after) + 1) : items
  if (after && rest.length === items.length) {
    return { status: 400, body: openaiErrorBody('invalid_request_error', `Invalid cursor: ${after}`, 'after') }
  }
  const data = rest.slice(0, Number(query.get('limit')) || limit)
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
  return json({ object: 'list', data, ...ends, has_more: rest.length > data.length })
}

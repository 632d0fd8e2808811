import { type JsonBody, parsed } from './formats.ts'
import { errorBody } from './messages.ts'
import {
  batchAnswer,
  type FakeAnswer,
  fieldsOf,
  fileIn,
  isoOf,
  itemsAfter,
  json,
  jsonLines,
  type Numbers,
  type ObjectCall,
  objectsIn,
  type Route,
  type SentFile,
  Shelf,
} from './shelf.ts'

interface StoredFile extends SentFile {
  id: string
  number: number
}

interface Batch {
  id: string
  number: number
  requests: { custom_id: string; params: JsonBody; unknownFile: string | undefined }[]
  /** In progress, and ended at the second look; a cancelled one ends at the next. */
  looks: number
  cancelled: boolean
}

const DAY_S = 24 * 3600

/** What an account keeps at Anthropic. */
export class AnthropicObjects {
  readonly #numbers: Numbers
  readonly #files = new Shelf<StoredFile>()
  readonly #batches = new Shelf<Batch>()

  constructor(numbers: Numbers) {
    this.#numbers = numbers
  }

  readonly routes: Route[] = [
    ['POST', /^\/files$/, (call) => this.#createFile(call)],
    ['GET', /^\/files$/, (call) => this.#listFiles(call)],
    ['GET', /^\/files\/([^/]+)$/, (call, id) => this.#withFile(call, id, (file) => json(fileObject(file)))],
    ['GET', /^\/files\/([^/]+)\/content$/, (call, id) => this.#withFile(call, id, contentOf)],
    ['DELETE', /^\/files\/([^/]+)$/, (call, id) => this.#withFile(call, id, () => this.#deleteFile(call, id))],
    ['POST', /^\/messages\/batches$/, (call) => this.#createBatch(call)],
    ['GET', /^\/messages\/batches$/, (call) => this.#listBatches(call)],
    ['GET', /^\/messages\/batches\/([^/]+)$/, (call, id) => this.#withBatch(call, id, (it) => lookAt(it, call))],
    ['GET', /^\/messages\/batches\/([^/]+)\/results$/, (call, id) => this.#results(call, id)],
    [
      'POST',
      /^\/messages\/batches\/([^/]+)\/cancel$/,
      (call, id) => this.#withBatch(call, id, (it) => cancel(it, call)),
    ],
    ['DELETE', /^\/messages\/batches\/([^/]+)$/, (call, id) => this.#withBatch(call, id, (it) => this.#end(call, it))],
  ]

  refusal(call: ObjectCall): FakeAnswer | null {
    if (!/\/messages(?:\/count_tokens)?$/.test(call.path)) return null
    if (!call.bytes.includes('"file_id"')) return null // most calls are spared the search
    const unknown = this.#unknownFile(call, parsed(call.bytes.toString()))
    return unknown === undefined ? null : noFile(unknown)
  }

  #unknownFile({ account }: ObjectCall, body: JsonBody): string | undefined {
    return fileIdsIn(body).find((id) => !this.#files.get(account, id))
  }

  async #createFile(call: ObjectCall): Promise<FakeAnswer> {
    const file = fileIn(await fieldsOf(call), 'file')
    if (!file) return refused('file: Field required')
    const number = this.#numbers.next()
    return json(fileObject(this.#files.put(call.account, { ...file, id: `file_fake_${number}`, number })))
  }

  /** Pages by a cursor as of 1.x of the SDK, and by ids as before. */
  #listFiles({ account, query }: ObjectCall): FakeAnswer {
    const ids = [...query.getAll('ids'), ...query.getAll('ids[]')]
    const files = this.#files.list(account).filter(({ id }) => ids.length === 0 || ids.includes(id))
    const cursor = query.get('page')
    if (cursor) query.set('after_id', Buffer.from(cursor, 'base64url').toString())
    return listed(files.map(fileObject), query, ({ has_more, last_id }) => ({
      next_page: has_more && last_id ? Buffer.from(last_id).toString('base64url') : null,
    }))
  }

  #withFile({ account }: ObjectCall, id: string, then: (file: StoredFile) => FakeAnswer): FakeAnswer {
    const file = this.#files.get(account, id)
    return file ? then(file) : noFile(id)
  }

  #deleteFile({ account }: ObjectCall, id: string): FakeAnswer {
    this.#files.delete(account, id)
    return json({ id, type: 'file_deleted' })
  }

  #createBatch(call: ObjectCall): FakeAnswer {
    const { requests } = parsed(call.bytes.toString())
    if (!Array.isArray(requests) || requests.length === 0) return refused('requests: Field required')
    const number = this.#numbers.next()
    const batch = { id: `msgbatch_fake_${number}`, number, looks: 0, cancelled: false }
    const checked = requests.map(({ custom_id, params }) => {
      return { custom_id, params, unknownFile: this.#unknownFile(call, params) }
    })
    return json(batchObject(this.#batches.put(call.account, { ...batch, requests: checked }), call))
  }

  #listBatches(call: ObjectCall): FakeAnswer {
    const batches = this.#batches.list(call.account)
    return listed(
      batches.map((batch) => batchObject(batch, call)),
      call.query,
    )
  }

  #withBatch({ account }: ObjectCall, id: string, then: (batch: Batch) => FakeAnswer): FakeAnswer {
    const batch = this.#batches.get(account, id)
    return batch ? then(batch) : notFound(`Batch not found: ${id}`)
  }

  #results(call: ObjectCall, id: string): FakeAnswer {
    return this.#withBatch(call, id, (batch) => {
      if (!hasEnded(batch)) return notFound(`Batch ${id} has no available results`)
      const results = batch.requests.map(({ custom_id }, index) => ({ custom_id, result: resultOf(batch, index) }))
      return { headers: { 'content-type': 'application/x-jsonl' }, body: jsonLines(results) }
    })
  }

  #end({ account }: ObjectCall, batch: Batch): FakeAnswer {
    const { id } = batch
    if (!hasEnded(batch)) return refused(`Batch ${id} cannot be deleted while it is in progress. Cancel it first.`)
    this.#batches.delete(account, id)
    return json({ id, type: 'message_batch_deleted' })
  }
}

/** A list of what comes newest first; `more` says what else stands in it. */
function listed(
  items: { id: string }[],
  query: URLSearchParams,
  more: (ends: { has_more: boolean; last_id: string | null }) => object = () => ({}),
): FakeAnswer {
  const limit = Number(query.get('limit')) || 20
  const before = query.get('before_id')
  const rest = before ? itemsBefore(items, before) : itemsAfter(items, query.get('after_id'))
  if (!rest) return refused('Invalid cursor')
  const data = before ? rest.slice(-limit) : rest.slice(0, limit)
  const last_id = data.at(-1)?.id ?? null
  const has_more = rest.length > data.length
  return json({ data, has_more, first_id: data[0]?.id ?? null, last_id, ...more({ has_more, last_id }) })
}

function itemsBefore<T extends { id: string }>(items: T[], id: string): T[] | null {
  return itemsAfter(items.toReversed(), id)?.reverse() ?? null
}

function refused(message: string): FakeAnswer {
  return { status: 400, body: errorBody('invalid_request_error', message) }
}

function notFound(message: string): FakeAnswer {
  return { status: 404, body: errorBody('not_found_error', message) }
}

function noFile(id: string): FakeAnswer {
  return notFound(`File not found: ${id}`)
}

/** Files that a message's parts name. */
function fileIdsIn(body: JsonBody): string[] {
  const named = [...objectsIn(body)].filter(({ type }) => type === 'file' || type === 'container_upload')
  return named.map(({ file_id }) => file_id).filter((id) => typeof id === 'string')
}

function fileObject({ id, number, filename, mimeType, bytes }: StoredFile) {
  const head = { type: 'file', id, filename, mime_type: mimeType, size_bytes: bytes.length }
  return { ...head, created_at: isoOf(number), downloadable: true, expires_at: null }
}

function contentOf({ mimeType, bytes }: StoredFile): FakeAnswer {
  return { headers: { 'content-type': mimeType }, body: bytes }
}

function hasEnded({ looks }: Batch): boolean {
  return looks > 1
}

function batchObject(batch: Batch, { origin }: ObjectCall) {
  const { id, number, requests, cancelled } = batch
  const ended = hasEnded(batch)
  const running = cancelled ? 'canceling' : 'in_progress'
  const failing = requests.filter(({ unknownFile }) => unknownFile !== undefined).length
  const isDone = ended && !cancelled
  return {
    ...{ id, type: 'message_batch', processing_status: ended ? 'ended' : running, created_at: isoOf(number) },
    ...{ expires_at: isoOf(number, DAY_S), archived_at: null, cancel_initiated_at: cancelled ? isoOf(number) : null },
    ...{
      ended_at: ended ? isoOf(number) : null,
      results_url: ended ? `${origin}/v1/messages/batches/${id}/results` : null,
    },
    request_counts: {
      processing: ended ? 0 : requests.length,
      succeeded: isDone ? requests.length - failing : 0,
      errored: isDone ? failing : 0,
      canceled: ended && cancelled ? requests.length : 0,
      expired: 0,
    },
  }
}

function resultOf({ id, cancelled, requests }: Batch, index: number): object {
  const { params, unknownFile } = requests[index] ?? {}
  if (cancelled) return { type: 'canceled' }
  if (unknownFile !== undefined) return { type: 'errored', error: parsed(String(noFile(unknownFile).body)) }
  return { type: 'succeeded', message: batchAnswer('/v1/messages', params, `msg_${id}_${index}`) }
}

function lookAt(batch: Batch, call: ObjectCall): FakeAnswer {
  batch.looks++
  return json(batchObject(batch, call))
}

function cancel(batch: Batch, call: ObjectCall): FakeAnswer {
  if (!hasEnded(batch)) {
    batch.cancelled = true
    batch.looks = 1
  }
  return json(batchObject(batch, call))
}

import { openaiErrorBody } from './chat.ts'
import { type JsonBody, parsed } from './formats.ts'
import type { FakeMessage } from './messages.ts'
import {
  batchAnswer,
  type FakeAnswer,
  fieldsOf,
  fileIn,
  json,
  jsonLines,
  linesOf,
  type Numbers,
  type ObjectCall,
  objectsIn,
  type Route,
  type SentFile,
  Shelf,
  secondsOf,
  textIn,
} from './shelf.ts'
import { openaiPage, StoredResponses } from './stored-responses.ts'

interface StoredFile extends SentFile {
  id: string
  createdAt: number
  purpose: string
}

interface Upload {
  id: string
  createdAt: number
  asked: JsonBody
  status: 'pending' | 'completed' | 'cancelled'
  parts: Map<string, Buffer>
  file?: StoredFile
}

/** `validating`, then `in_progress` at the first look and at its end at the second; a cancelled one ends at the next. */
interface Batch {
  id: string
  createdAt: number
  asked: JsonBody
  status: 'validating' | 'in_progress' | 'completed' | 'cancelling' | 'cancelled'
  lines: JsonBody[]
  output?: { file: StoredFile; usage: object }
}

interface Video {
  id: string
  createdAt: number
  asked: { model: string; prompt: string | null; seconds: string; size: string }
  remixOf: string | null
  /** Queued, in progress at the first look, completed at the second. */
  looks: number
}

const HOUR_S = 3600
const DAY_S = 24 * HOUR_S

/** What an account keeps at OpenAI. */
export class OpenaiObjects {
  readonly #numbers: Numbers
  readonly #files = new Shelf<StoredFile>()
  readonly #uploads = new Shelf<Upload>()
  readonly #batches = new Shelf<Batch>()
  readonly #videos = new Shelf<Video>()
  readonly #responses = new StoredResponses()

  constructor(numbers: Numbers) {
    this.#numbers = numbers
  }

  get routes(): Route[] {
    return [...this.#responses.routes, ...this.#routes]
  }

  readonly #routes: Route[] = [
    ['POST', /^\/files$/, (call) => this.#createFile(call)],
    ['GET', /^\/files$/, (call) => this.#listFiles(call)],
    ['GET', /^\/files\/([^/]+)$/, (call, id) => this.#withFile(call, id, (file) => json(fileObject(file)))],
    ['GET', /^\/files\/([^/]+)\/content$/, (call, id) => this.#withFile(call, id, contentOf)],
    ['DELETE', /^\/files\/([^/]+)$/, (call, id) => this.#withFile(call, id, () => this.#deleteFile(call, id))],
    ['POST', /^\/uploads$/, (call) => this.#createUpload(call)],
    ['POST', /^\/uploads\/([^/]+)\/parts$/, (call, id) => this.#addPart(call, id)],
    ['POST', /^\/uploads\/([^/]+)\/complete$/, (call, id) => this.#completeUpload(call, id)],
    ['POST', /^\/uploads\/([^/]+)\/cancel$/, (call, id) => this.#cancelUpload(call, id)],
    ['POST', /^\/batches$/, (call) => this.#createBatch(call)],
    ['GET', /^\/batches$/, ({ account, query }) => listed(this.#batches.list(account), batchObject, query)],
    ['GET', /^\/batches\/([^/]+)$/, (call, id) => this.#lookAtBatch(call, id)],
    ['POST', /^\/batches\/([^/]+)\/cancel$/, (call, id) => this.#cancelBatch(call, id)],
    ['POST', /^\/videos$/, (call) => this.#createVideo(call)],
    ['GET', /^\/videos$/, ({ account, query }) => listed(this.#videos.list(account), videoObject, query)],
    ['GET', /^\/videos\/([^/]+)$/, (call, id) => this.#withVideo(call, id, lookAtVideo)],
    ['GET', /^\/videos\/([^/]+)\/content$/, (call, id) => this.#withVideo(call, id, (it) => videoContent(it, call))],
    ['DELETE', /^\/videos\/([^/]+)$/, (call, id) => this.#withVideo(call, id, () => this.#deleteVideo(call, id))],
    ['POST', /^\/videos\/([^/]+)\/remix$/, (call, id) => this.#remix(call, id)],
  ]

  keep(account: string, asked: JsonBody, message: FakeMessage, id: string): void {
    this.#responses.keep(account, asked, message, id)
  }

  refusal(call: ObjectCall): FakeAnswer | null {
    if (!/\/(?:responses|responses\/compact|responses\/input_tokens|chat\/completions)$/.test(call.path)) return null
    const names = call.bytes.includes('"file_id') // most calls are spared the search
    if (!names && !call.bytes.includes('"previous_response_id"')) return null
    const body = parsed(call.bytes.toString())
    const unknown = names ? fileIdsIn(body).find((id) => !this.#files.get(call.account, id)) : undefined
    if (unknown !== undefined) return noSuchFile(unknown, null)
    return this.#responses.refusal(call, body)
  }

  async #createFile(call: ObjectCall): Promise<FakeAnswer> {
    const fields = await fieldsOf(call)
    const file = fileIn(fields, 'file')
    const purpose = textIn(fields, 'purpose')
    if (!file) return refused("'file' is a required property")
    if (purpose === undefined) return refused("'purpose' is a required property")
    return json(fileObject(this.#keepFile(call.account, file, purpose)))
  }

  #keepFile(account: string, { filename, mimeType, bytes }: SentFile, purpose: string): StoredFile {
    const number = this.#numbers.next()
    const id = `file-fake-${number}`
    return this.#files.put(account, { id, createdAt: secondsOf(number), filename, mimeType, bytes, purpose })
  }

  #listFiles({ account, query }: ObjectCall): FakeAnswer {
    const purpose = query.get('purpose')
    const files = this.#files.list(account).filter((file) => !purpose || file.purpose === purpose)
    return listed(files, fileObject, query, 10_000)
  }

  #withFile({ account }: ObjectCall, id: string, then: (file: StoredFile) => FakeAnswer): FakeAnswer {
    const file = this.#files.get(account, id)
    return file ? then(file) : noSuchFile(id)
  }

  #deleteFile({ account }: ObjectCall, id: string): FakeAnswer {
    this.#files.delete(account, id)
    return json({ id, object: 'file', deleted: true })
  }

  #createUpload({ account, bytes }: ObjectCall): FakeAnswer {
    const number = this.#numbers.next()
    const asked = parsed(bytes.toString())
    const upload = { id: `upload_fake-${number}`, createdAt: secondsOf(number), asked, parts: new Map() }
    return json(uploadObject(this.#uploads.put(account, { ...upload, status: 'pending' })))
  }

  async #addPart(call: ObjectCall, id: string): Promise<FakeAnswer> {
    const upload = this.#uploads.get(call.account, id)
    if (!upload) return noSuch('Upload', id)
    if (upload.status !== 'pending') return refused(`Upload has status '${upload.status}'.`)
    const data = fileIn(await fieldsOf(call), 'data')
    if (!data) return refused("'data' is a required property")
    const number = this.#numbers.next()
    const part = `part_fake-${number}`
    upload.parts.set(part, data.bytes)
    return json({ id: part, object: 'upload.part', created_at: secondsOf(number), upload_id: id })
  }

  #completeUpload({ account, bytes }: ObjectCall, id: string): FakeAnswer {
    const upload = this.#uploads.get(account, id)
    if (!upload) return noSuch('Upload', id)
    if (upload.status !== 'pending') return refused(`Upload has status '${upload.status}'.`)
    const partIds: string[] = parsed(bytes.toString()).part_ids ?? []
    const missing = partIds.find((part) => !upload.parts.has(part))
    if (missing !== undefined) return refused(`Part '${missing}' was not found in this upload.`, 'part_ids')
    const content = Buffer.concat(partIds.map((part) => upload.parts.get(part) ?? Buffer.alloc(0)))
    const { filename, mime_type: mimeType, purpose, bytes: size } = upload.asked
    if (content.length !== size) return refused(`Expected ${size} bytes, but ${content.length} were uploaded.`)
    upload.file = this.#keepFile(account, { filename, mimeType, bytes: content }, purpose)
    upload.status = 'completed'
    return json(uploadObject(upload))
  }

  #cancelUpload({ account }: ObjectCall, id: string): FakeAnswer {
    const upload = this.#uploads.get(account, id)
    if (!upload) return noSuch('Upload', id)
    if (upload.status === 'completed') return refused("Upload has status 'completed'.")
    upload.status = 'cancelled'
    return json(uploadObject(upload))
  }

  #createBatch({ account, bytes }: ObjectCall): FakeAnswer {
    const asked = parsed(bytes.toString())
    const input = this.#files.get(account, String(asked.input_file_id))
    if (!input) return noSuchFile(String(asked.input_file_id), 'input_file_id', 400)
    const number = this.#numbers.next()
    const batch = { id: `batch_fake-${number}`, createdAt: secondsOf(number), asked, lines: linesOf(input.bytes) }
    return json(batchObject(this.#batches.put(account, { ...batch, status: 'validating' })))
  }

  #lookAtBatch({ account }: ObjectCall, id: string): FakeAnswer {
    const batch = this.#batches.get(account, id)
    if (!batch) return noBatch(id)
    if (batch.status === 'in_progress') this.#finish(account, batch)
    if (batch.status === 'validating') batch.status = 'in_progress'
    if (batch.status === 'cancelling') batch.status = 'cancelled'
    return json(batchObject(batch))
  }

  #finish(account: string, batch: Batch): void {
    const answers = batch.lines.map(({ custom_id, url, body }, index) => {
      const id = `${batch.id}_${index}`
      const response = { status_code: 200, request_id: `req_${id}`, body: batchAnswer(url, body, id) }
      return { id: `batch_req_${id}`, custom_id, response, error: null }
    })
    const usage = totalUsage(answers.map(({ response }) => response.body?.usage))
    const output = { filename: `${batch.id}_output.jsonl`, mimeType: 'application/jsonl', bytes: jsonLines(answers) }
    batch.output = { file: this.#keepFile(account, output, 'batch_output'), usage }
    batch.status = 'completed'
  }

  #cancelBatch({ account }: ObjectCall, id: string): FakeAnswer {
    const batch = this.#batches.get(account, id)
    if (!batch) return noBatch(id)
    if (batch.status === 'completed' || batch.status === 'cancelled')
      return refused(`Cannot cancel a batch with status '${batch.status}'.`, null, 409)
    batch.status = 'cancelling'
    return json(batchObject(batch))
  }

  async #createVideo(call: ObjectCall): Promise<FakeAnswer> {
    const body: JsonBody = Object.fromEntries(await fieldsOf(call))
    if (typeof body.prompt !== 'string') return refused("Missing required parameter: 'prompt'.", 'prompt')
    const reference = body.input_reference?.file_id
    if (reference !== undefined && !this.#files.get(call.account, reference)) return noSuchFile(reference)
    const { model = 'sora-2', prompt, seconds = '4', size = '720x1280' } = body
    return json(videoObject(this.#keepVideo(call.account, { model, prompt, seconds: String(seconds), size })))
  }

  #keepVideo(account: string, asked: Video['asked'], remixOf: string | null = null): Video {
    const number = this.#numbers.next()
    const video = { id: `video_fake-${number}`, createdAt: secondsOf(number), asked, remixOf, looks: 0 }
    return this.#videos.put(account, video)
  }

  #withVideo({ account }: ObjectCall, id: string, then: (video: Video) => FakeAnswer): FakeAnswer {
    const video = this.#videos.get(account, id)
    return video ? then(video) : refused(`Video with id '${id}' not found.`, null, 404)
  }

  #deleteVideo({ account }: ObjectCall, id: string): FakeAnswer {
    this.#videos.delete(account, id)
    return json({ id, object: 'video.deleted', deleted: true })
  }

  async #remix(call: ObjectCall, id: string): Promise<FakeAnswer> {
    const prompt = textIn(await fieldsOf(call), 'prompt')
    if (prompt === undefined) return refused("Missing required parameter: 'prompt'.", 'prompt')
    return this.#withVideo(call, id, ({ asked }) =>
      json(videoObject(this.#keepVideo(call.account, { ...asked, prompt }, id))),
    )
  }
}

function listed<T>(newestFirst: T[], shape: (thing: T) => { id: string }, query: URLSearchParams, limit = 20) {
  return openaiPage(newestFirst.map(shape).reverse(), query, { limit })
}

function refused(message: string, param: string | null = null, status = 400): FakeAnswer {
  return { status, body: openaiErrorBody('invalid_request_error', message, param) }
}

function noSuchFile(id: string, param: string | null = 'id', status = 404): FakeAnswer {
  return refused(`No such File object: ${id}`, param, status)
}

function noSuch(kind: string, id: string): FakeAnswer {
  return refused(`No such ${kind} object: ${id}`, 'id', 404)
}

function noBatch(id: string): FakeAnswer {
  return refused(`No batch found with id '${id}'.`, null, 404)
}

/** Files that a request for an answer names: its parts, and what a tool's container starts with. */
function fileIdsIn(body: JsonBody): string[] {
  const ids: unknown[] = []
  for (const part of objectsIn(body)) {
    if (part.type === 'input_file' || part.type === 'input_image') ids.push(part.file_id)
    if (part.type === 'file') ids.push(part.file?.file_id)
    if (part.type === 'auto' && Array.isArray(part.file_ids)) ids.push(...part.file_ids)
  }
  return ids.filter((id) => typeof id === 'string')
}

function fileObject({ id, createdAt, filename, bytes, purpose }: StoredFile) {
  const head = { id, object: 'file', bytes: bytes.length, created_at: createdAt, expires_at: null }
  return { ...head, filename, purpose, status: 'processed', status_details: null }
}

function contentOf({ filename, mimeType, bytes }: StoredFile): FakeAnswer {
  const disposition = `attachment; filename*=UTF-8''${encodeURIComponent(filename)}`
  return { headers: { 'content-type': mimeType, 'content-disposition': disposition }, body: bytes }
}

function uploadObject({ id, createdAt, asked, status, file }: Upload) {
  const { bytes, filename, purpose } = asked
  const head = { id, object: 'upload', bytes, created_at: createdAt, filename, purpose, status }
  return { ...head, expires_at: createdAt + HOUR_S, ...(file && { file: fileObject(file) }) }
}

function batchObject({ id, createdAt, asked, status, lines, output }: Batch) {
  const { endpoint, input_file_id, completion_window, metadata = null } = asked
  const isOver = status === 'completed'
  const since = (begun: boolean) => (begun ? createdAt : null)
  return {
    ...{ id, object: 'batch', endpoint, model: lines[0]?.body?.model ?? null, errors: null, input_file_id },
    ...{ completion_window, status, output_file_id: output?.file.id ?? null, error_file_id: null },
    ...{ created_at: createdAt, in_progress_at: since(status !== 'validating'), expires_at: createdAt + DAY_S },
    ...{ finalizing_at: since(isOver), completed_at: since(isOver), failed_at: null, expired_at: null },
    ...{ cancelling_at: since(status.startsWith('cancel')), cancelled_at: since(status === 'cancelled') },
    request_counts: { total: lines.length, completed: isOver ? lines.length : 0, failed: 0 },
    usage: output?.usage ?? null,
    metadata,
  }
}

/** Of all lines, whichever of OpenAI's formats they are in. */
function totalUsage(usages: JsonBody[]) {
  const sum = (count: (usage: JsonBody) => unknown) =>
    usages.reduce((total, usage) => total + (Number(count(usage)) || 0), 0)
  const input_tokens = sum((usage) => usage?.input_tokens ?? usage?.prompt_tokens)
  const output_tokens = sum((usage) => usage?.output_tokens ?? usage?.completion_tokens)
  return {
    ...{ input_tokens, input_tokens_details: { cached_tokens: 0 } },
    ...{ output_tokens, output_tokens_details: { reasoning_tokens: 0 } },
    total_tokens: input_tokens + output_tokens,
  }
}

function videoObject({ id, createdAt, asked, remixOf, looks }: Video) {
  const isOver = looks > 1
  return {
    ...{ id, object: 'video', created_at: createdAt, completed_at: isOver ? createdAt : null, error: null },
    ...{ status: ['queued', 'in_progress'][looks] ?? 'completed', progress: Math.min(looks * 50, 100) },
    ...{ ...asked, expires_at: isOver ? createdAt + HOUR_S : null, remixed_from_video_id: remixOf },
  }
}

function lookAtVideo(video: Video): FakeAnswer {
  video.looks++
  return json(videoObject(video))
}

const VIDEO_TYPES: Record<string, string> = { thumbnail: 'image/webp', spritesheet: 'image/jpeg' }

function videoContent({ id, looks }: Video, { query }: ObjectCall): FakeAnswer {
  if (looks < 2) return refused('Video is not ready yet, use GET /v1/videos/{video_id} to check status.', null, 404)
  const variant = query.get('variant') ?? 'video'
  const bytes = Buffer.concat([Buffer.from([0, 0, 0, 0x18, 0xff]), Buffer.from(`ftypmp42 ${variant} of ${id}`)])
  return { headers: { 'content-type': VIDEO_TYPES[variant] ?? 'video/mp4' }, body: bytes }
}

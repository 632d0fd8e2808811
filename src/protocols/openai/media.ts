import { badField, type Fields } from '../fields.ts'
import type { MediaBlock } from '../neutral.ts'

// Images and files as both of OpenAI's formats write them: a URL, or the bytes in a `data:` URL.

const DATA_URL = /^data:([a-z0-9.+-]+\/[a-z0-9.+-]+)?((?:;[^,;]*)*),/i

/** Types of files that name none, by their names' ends. */
const TYPE_BY_ENDING: Record<string, string> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/plain',
  csv: 'text/plain',
  json: 'text/plain',
  html: 'text/plain',
}

/** Reads `url` as an image. Throws `invalid_request` that names `where`. */
export function imageOf(url: string, detail: string | null, where: string): MediaBlock {
  return { ...mediaOf(url, where), name: null, detail: detailOf(detail) }
}

/** There is `original` too, for images that are not to be made smaller. */
function detailOf(detail: string | null): MediaBlock['detail'] {
  if (detail === 'original') return 'high'
  return detail === 'low' || detail === 'high' || detail === 'auto' ? detail : null
}

/** Reads what both formats call a file: its bytes in `file_data`, or where it is, and perhaps its name. Throws `invalid_request`. */
export function fileOf(fields: Fields): MediaBlock {
  refuseStored(fields)
  const data = fields.text('file_data')
  const url = fields.text('file_url')
  const name = fields.text('filename')
  if (data === null) {
    if (url === null) throw badField(fields.where('file_data'), 'must be given')
    const path = url.split(/[?#]/, 1)[0] ?? ''
    const source = { kind: 'url', url } as const
    return {
      kind: 'media',
      mediaType: typeByName(path),
      source,
      name: name ?? path.split('/').at(-1) ?? '',
      detail: null,
    }
  }
  // Bare base64 is taken too.
  const media = data.startsWith('data:')
    ? mediaOf(data, fields.where('file_data'))
    : base64Media(typeByName(name), data)
  return { ...media, mediaType: media.mediaType ?? typeByName(name), name }
}

/** A file that the vendor keeps lives on one account. Throws `invalid_request` if it is such. */
export function refuseStored(fields: Fields): void {
  if (fields.text('file_id') !== null) {
    throw badField(fields.where('file_id'), 'names a file that lives on one account, and this call goes elsewhere')
  }
}

function typeByName(name: string | null): string | null {
  return TYPE_BY_ENDING[name?.split('.').at(-1)?.toLowerCase() ?? ''] ?? null
}

function base64Media(mediaType: string | null, data: string): MediaBlock {
  return { kind: 'media', mediaType, source: { kind: 'base64', data }, name: null, detail: null }
}

function mediaOf(url: string, where: string): MediaBlock {
  const match = DATA_URL.exec(url)
  if (!match) {
    if (!/^https?:\/\//i.test(url)) throw badField(where, 'must be an http or data URL')
    return { kind: 'media', mediaType: null, source: { kind: 'url', url }, name: null, detail: null }
  }
  const [head, type, parameters = ''] = match
  if (!/;base64$/i.test(parameters)) throw badField(where, 'a data URL must be in base64')
  return base64Media(type?.toLowerCase() ?? null, url.slice(head.length))
}

/** As a URL; OpenAI takes no other form. */
export function urlOf({ source, mediaType }: MediaBlock): string {
  if (source.kind === 'url') return source.url
  const type = mediaType === 'image/jpg' ? 'image/jpeg' : mediaType
  return `data:${type ?? 'application/octet-stream'};base64,${source.data}`
}

/** True for what goes as an image; what has a name, or another type, is a file. */
export function isImage({ mediaType, name }: MediaBlock): boolean {
  return mediaType === null ? name === null : mediaType.startsWith('image/')
}

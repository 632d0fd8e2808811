import { finderOf, oneId } from '../named-objects.ts'

/** The path of a file of Google's at whatever host stands for it, under whatever prefix. */
const FILE_PATH = /\/v1[a-z]*\/(files\/[^/:]+)$/
/** Where users keep files of their own. */
const BUCKETS = /(?:^|\.)storage\.googleapis\.com\.?$/
const GOOGLES = /(?:^|\.)googleapis\.com\.?$/

/** Fields of free form, by the field that they stand in. */
const FREE_WITHIN: ReadonlyMap<string, string> = new Map([
  ['functionCall', 'args'],
  ['function_call', 'args'],
  ['functionResponse', 'response'],
  ['function_response', 'response'],
])
const SCHEMA = /^(?:parameters|response)(?:_?json)?(?:_?schema)?$/i

/** Files and caches that a request to Google names, in both of its spellings. Google's reader is lax: what it may read in its own way is read strictly here. */
export const geminiNamed = finderOf({
  hint: /file_?[uU]ri|cached_?[cC]ontent|\\[^"\\/bfnrtu]/,
  idsOf(field, value, _holder, within) {
    switch (field) {
      case 'fileUri':
      case 'file_uri':
        return filesIn(value)
      case 'cachedContent':
      case 'cached_content':
        return oneId(value)
      case 'fileName':
      case 'file_name':
        return within === 'inputConfig' || within === 'input_config' ? oneId(value) : []
      default:
        return []
    }
  },
  isFree: (field, _holder, within) =>
    FREE_WITHIN.get(within) === field || (SCHEMA.test(field) && field.toLowerCase() !== 'response'),
})

/** The file that an address names; nothing where it is one of anywhere else in the world. */
function filesIn(value: unknown): string[] {
  if (typeof value !== 'string') return []
  if (/^\/?files\//.test(value)) return [value.replace(/^\//, '')]
  const url = URL.parse(value)
  if (!url) return /files\//.test(value) ? [value] : []
  const [, file] = FILE_PATH.exec(decoded(url.pathname)) ?? []
  if (file !== undefined) return [file]
  // Some other spelling of something there: nobody knows what it names.
  return GOOGLES.test(url.hostname) && !BUCKETS.test(url.hostname) ? [value] : []
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

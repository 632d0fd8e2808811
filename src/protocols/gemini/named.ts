import { finderOf, oneId } from '../named-objects.ts'

const HOST = 'generativelanguage.googleapis.com'
/** The path of a file of Google's at whatever host stands for it. */
const FILE_PATH = /^\/v1[a-z]*\/(files\/[^/:]+)$/

/** The file that an address names; nothing where it is one of anywhere else in the world. */
function filesIn(value: unknown): string[] {
  if (typeof value !== 'string') return []
  const url = URL.parse(value, `https://${HOST}/v1beta/`)
  if (!url) return []
  const [, file] = FILE_PATH.exec(decoded(url.pathname)) ?? []
  if (file !== undefined) return [file]
  // Some other spelling of something there: nobody knows what it names.
  return url.hostname === HOST ? [value] : []
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Files and caches that a request to Google names, in both of its spellings. */
export const geminiNamed = finderOf({
  ...{ fileUri: filesIn, file_uri: filesIn, fileName: filesIn, file_name: filesIn },
  ...{ cachedContent: oneId, cached_content: oneId },
})

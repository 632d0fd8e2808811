import type { Account } from '../../domain/account.ts'
import { JsonScanError, type ScannedObject, scanTopLevel } from '../../lib/json-scan.ts'
import type { Headers } from '../../protocols/protocol.ts'

// ChatGPT's backend for Codex, which accounts with a ChatGPT login call. It speaks Responses with rules of its own
// (what other projects found, November 2026).

export const CODEX_BACKEND_URL = 'https://chatgpt.com/backend-api/codex'
const PATH = '/backend-api/codex'

/** The backend is known by its path, wherever it is. */
export function isCodexBackend({ baseUrl }: Pick<Account, 'baseUrl'>): boolean {
  return baseUrl.endsWith(PATH)
}

/** Asked for in the version of Codex that this was read from. */
export const CLIENT_VERSION = '0.169.0'

/** Settings that it refuses. That an answer has another length or temperature is named, the others change nothing in it. */
const REFUSED = [
  'prompt_cache_retention',
  'prompt_cache_options',
  'safety_identifier',
  'stream_options',
  'user',
  'max_output_tokens',
  'temperature',
  'top_p',
  'context_management',
] as const

const LOOKED_AT: ReadonlySet<string> = new Set(['stream', 'store', ...REFUSED])

export interface FittedBody {
  body: Buffer
  /** Names of what was left out. */
  dropped: string[]
}

/** The body as the backend takes it: always as a stream, never stored. What fits, as Codex's own does, stays as it is. */
export function fittedToCodex(body: Buffer, headers: Headers): FittedBody {
  const request = fits(body, headers) ? null : parsed(body)
  if (!request) return { body, dropped: [] } // also for what is no JSON: the backend says so better
  const dropped = REFUSED.filter((name) => request[name] !== undefined && request[name] !== null)
  for (const name of REFUSED) delete request[name]
  const fitted = { ...request, input: itemsOf(request.input), instructions: request.instructions ?? '' }
  return { body: Buffer.from(JSON.stringify({ ...fitted, store: false, stream: true })), dropped }
}

function parsed(body: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    const isObject = value !== null && typeof value === 'object' && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

function fits(body: Buffer, headers: Headers): boolean {
  const keys = scanned(body)
  if (keys?.raw('stream') !== 'true' || keys.raw('store') !== 'false') return false
  if (REFUSED.some((name) => keys.raw(name) !== undefined)) return false
  // Codex itself sends a list without system messages, and no instructions. Of others it is not known.
  return headers.originator !== undefined
}

function scanned(body: Buffer): ScannedObject | null {
  try {
    return scanTopLevel(body, LOOKED_AT)
  } catch (error) {
    if (error instanceof JsonScanError) return null
    throw error
  }
}

function itemsOf(input: unknown): unknown {
  if (typeof input === 'string') {
    return [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: input }] }]
  }
  if (!Array.isArray(input)) return input
  return input.map((item) => (item?.role === 'system' ? { ...item, role: 'developer' } : item))
}

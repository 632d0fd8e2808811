import type { IncomingHttpHeaders } from 'node:http'
import { AnthropicObjects } from './anthropic-objects.ts'
import type { JsonBody } from './formats.ts'
import { GeminiObjects } from './gemini-objects.ts'
import type { FakeMessage } from './messages.ts'
import { OpenaiObjects } from './openai-objects.ts'
import { type FakeAnswer, Numbers, type ObjectCall, type Route } from './shelf.ts'

interface Arrived {
  method: string
  path: string
  headers: IncomingHttpHeaders
}

/** What one vendor keeps for its accounts. */
interface Vendor {
  routes: Route[]
  /** Why a call for a message is refused that names what the account does not have; null if it is not. */
  refusal(call: ObjectCall): FakeAnswer | null
}

/**
 * What accounts have left at the vendors: files, uploads, batches, caches, stored answers, videos. An account is its
 * credential; all who use one see all that it has.
 */
export class FakeObjects {
  readonly #numbers = new Numbers()
  readonly #openai = new OpenaiObjects(this.#numbers)
  readonly #anthropic = new AnthropicObjects(this.#numbers)
  readonly #gemini = new GeminiObjects(this.#numbers)

  /** Null for a call that is about no object, or whose objects are all there. */
  async answer(arrived: Arrived, bytes: Buffer): Promise<FakeAnswer | null> {
    if (!arrived.path.startsWith('/')) return null
    const call = objectCall(arrived, bytes)
    for (const [method, path, take] of this.#vendorOf(call).routes) {
      const [matches, id = ''] = (call.method === method && path.exec(call.path)) || []
      if (matches !== undefined) return take(call, id)
    }
    if (call.method !== 'POST') return null
    return this.#openai.refusal(call) ?? this.#anthropic.refusal(call) ?? this.#gemini.refusal(call)
  }

  /** Keeps an answer that can be asked for later, if it is one. */
  keep(arrived: Arrived, asked: JsonBody, message: FakeMessage, id: string): void {
    if (/\/responses(\?|$)/.test(arrived.path)) this.#openai.keep(accountOf(arrived), asked, message, id)
  }

  /** `/v1/files` is three vendors' path. */
  #vendorOf({ version, query, headers }: ObjectCall): Vendor {
    if (headers['x-goog-api-key'] !== undefined || query.has('key') || version !== 'v1') return this.#gemini
    return headers['anthropic-version'] === undefined ? this.#openai : this.#anthropic
  }
}

const VERSIONED = /^(.*?)\/(v1|v1alpha|v1beta)(\/.*)$/

function objectCall(arrived: Arrived, bytes: Buffer): ObjectCall {
  const { method, headers } = arrived
  const { origin, pathname, searchParams: query } = new URL(`http://${headers.host ?? 'localhost'}${arrived.path}`)
  const [, before = '', version = 'v1', after = pathname] = VERSIONED.exec(pathname) ?? []
  const path = before.endsWith('/upload') ? `/upload${after}` : after
  return { method, path, version, query, headers, bytes, account: accountOf(arrived), origin }
}

function accountOf({ path, headers }: Arrived): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
  const key = bearer ?? headers['x-api-key'] ?? headers['x-goog-api-key'] ?? /[?&]key=([^&]+)/.exec(path)?.[1]
  return String(key ?? '')
}

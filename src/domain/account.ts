import type { RestKind } from './fault.ts'

export const PROVIDERS = ['anthropic'] as const
export type ProviderName = (typeof PROVIDERS)[number]

/** paused: by the operator · disabled: by the gateway, with a reason, until the operator looks at it. */
export type AccountStatus = 'active' | 'paused' | 'disabled'

/** Out of service until a time. A soft rest ranks the account last; a hard one takes it out. */
export interface Rest {
  untilMs: number
  hardness: 'hard' | 'soft'
  kind: RestKind
  reason: string
  /** How often in a row for the same kind of fault: each repetition doubles the next rest. */
  step: number
}

/** One upstream credential. */
export interface Account {
  id: string
  provider: ProviderName
  name: string
  /** Where calls go, without a trailing slash; a path prefix is allowed. */
  baseUrl: string
  status: AccountStatus
  statusReason: string | null
  /** Lower is tried first. */
  priority: number
  /** Share among accounts of the same priority; 0 = only when nothing else is left. */
  weight: number
  /** Calls at a time; null = no limit. */
  concurrency: number | null
  /** Model patterns that it serves; empty = the provider's default patterns. */
  models: string[]
  /** Sent upstream with every call, in place of the client's of the same name. */
  headers: Record<string, string>
  expiresAtMs: number | null
  rest: Rest | null
  /** The last four characters of its credential, for display. */
  last4: string
  createdAtMs: number
}

/** What an account signs its calls with. Sealed in the store, never shown. */
export interface Credentials {
  kind: 'api_key'
  apiKey: string
}

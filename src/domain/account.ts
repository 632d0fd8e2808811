import type { ClientName } from './call.ts'
import type { Deadlines } from './deadline.ts'
import type { RestKind } from './fault.ts'
import type { Limit } from './limit.ts'
import type { ModelMap } from './model-map.ts'

export const PROVIDERS = ['anthropic', 'openai', 'gemini', 'antigravity'] as const
export type ProviderName = (typeof PROVIDERS)[number]

/** paused: by the operator · disabled: by the gateway, with a reason, until the operator looks at it. */
export type AccountStatus = 'active' | 'paused' | 'disabled'

/** Out of service until a time. A soft rest ranks the account last; a hard one takes it out. */
export interface Rest {
  untilMs: number
  /** Unix ms of the fault that it was earned by. */
  sinceMs: number
  hardness: 'hard' | 'soft'
  kind: RestKind
  reason: string
  /** How often in a row for the same kind of fault: each repetition doubles the next rest. 0: its length was told, not guessed. */
  step: number
}

/** A rest from one model only; the account serves the others. */
export interface ModelRest extends Rest {
  /** As the account is asked for it: that is what the vendor limits, whatever its clients call it. */
  model: string
}

/** True if the operator has said since the rest began that all is well. */
export function isWoken({ sinceMs }: Rest, wokenAtMs: number | null): boolean {
  return wokenAtMs !== null && sinceMs <= wokenAtMs
}

/** The operator's word on what an error of this account means: a rest of so long. */
export interface RestRule {
  /** The upstream's. */
  status: number
  /** One of them has to be in the error's text, in any case; empty = whatever it says. */
  keywords: string[]
  restMs: number
}

/** What a vendor allows an account over a period, and how much of it is used, as the vendor told last. */
export interface VendorWindow {
  /** The vendor's own name: `5h`, `7d`, `requests`, `input_tokens`. */
  name: string
  /** 0 … 1. */
  used: number
  /** When the share is whole again, unix ms. */
  resetAtMs: number
  /** From one reset to the next; null for one that refills all the time, so that nothing of it is ever lost. */
  lengthMs: number | null
  /** Patterns of the models that count against it; null = all, empty = some, and nobody says which. */
  models: readonly string[] | null
  /** Where it was read: in the heads of answers, or in a list of models. */
  source: 'headers' | 'models'
  sampledAtMs: number
}

/** The operator's word on how much of a vendor window its account may use: at this share it gets no calls until the reset. */
export interface PauseAt {
  /** The window's name. */
  window: string
  /** 0 < share ≤ 1. */
  used: number
}

/** The window that has reached the share at which the account is paused, of several the one that is whole again last; null if none has. */
export function pausingWindow(
  { pauseAt }: Pick<Account, 'pauseAt'>,
  windows: readonly VendorWindow[],
  nowMs: number,
): VendorWindow | null {
  let last: VendorWindow | null = null
  for (const { window: name, used } of pauseAt) {
    const window = windows.find((one) => one.name === name)
    if (!window || window.used < used || window.resetAtMs <= nowMs) continue
    if (!last || window.resetAtMs > last.resetAtMs) last = window
  }
  return last
}

/** The same of what keeps it from all models: who names a window of models that nobody knows means all of them. */
export function pausingForAll(
  account: Pick<Account, 'pauseAt'>,
  windows: readonly VendorWindow[],
  nowMs: number,
): VendorWindow | null {
  return pausingWindow(account, windows.filter(isOfAllModelsOrUnknown), nowMs)
}

function isOfAllModelsOrUnknown({ models }: VendorWindow): boolean {
  return models === null || models.length === 0
}

/** How much of a window is used, as people write it: whole percents, and 100 only of one that is full. */
export function usedPercent({ used }: VendorWindow): string {
  return `${Math.floor(used * 100)}%`
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
  /** Over one of them it is passed over. */
  limits: Limit[]
  /** Patterns of models that it serves as they are asked for; empty = the provider's default patterns. */
  models: string[]
  /** What it serves under another name; comes before `models`. */
  modelMap: ModelMap
  /** It serves only calls that come from this program; null = any. */
  onlyClient: ClientName | null
  /** Of a provider with a path of its own: it serves the general paths as well. */
  hybrid: boolean
  /** One for each window at most. */
  pauseAt: PauseAt[]
  /** Sent upstream with every call, in place of the client's of the same name. */
  headers: Record<string, string>
  expiresAtMs: number | null
  /** In place of the configuration's. */
  deadlines: Partial<Deadlines>
  rest: Rest | null
  /** One for each model at most. */
  modelRests: ModelRest[]
  /** Come before the provider's own table of faults; the first that fits counts. */
  restRules: RestRule[]
  /** By name. A running gateway knows newer ones. */
  windows: VendorWindow[]
  /** When the operator last said that all is well: what rested since before then does not rest any more. */
  wokenAtMs: number | null
  /** The last four characters of its credential, for display. */
  last4: string
  createdAtMs: number
}

/** What an account signs its calls with. Sealed in the store, never shown. */
export type Credentials = ApiKeyCredentials | OauthCredentials

export interface ApiKeyCredentials {
  kind: 'api_key'
  apiKey: string
}

/** An access token that was brought along; nobody renews it. */
export interface OauthCredentials {
  kind: 'oauth'
  accessToken: string
  /** As the vendor calls the account or workspace that it is for; null = it does not say. */
  accountId: string | null
  /** Null: not known. */
  expiresAtMs: number | null
}

/** What of the credentials goes into a header. */
export function secretOf(credentials: Credentials): string {
  return credentials.kind === 'api_key' ? credentials.apiKey : credentials.accessToken
}

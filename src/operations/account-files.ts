import { parse } from 'yaml'
import { z } from 'zod'
import { PROVIDERS, type ProviderName } from '../domain/account.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { checkedModelMap, type ModelMap } from '../domain/model-map.ts'
import { providers } from '../providers/index.ts'
import { oauthOf } from './access-token.ts'
import type { NewAccount } from './add-account.ts'

/** One account as a file or an environment describes it. */
export interface FoundAccount {
  /** `entry 3`, or the variable that it was found in. */
  from: string
  name: string
  provider: string
  /** What is to be added; or why it cannot be. */
  account: Omit<NewAccount, 'name' | 'groupIds'> | { refusal: string }
  /** It was switched off where it comes from. */
  paused: boolean
  /** What the entry says that has no counterpart here. */
  leftOut: string[]
}

const FORMATS = [
  'a list of accounts (provider, name, api_key, …)',
  "Codex's auth.json",
  "Gemini CLI's oauth_creds.json",
  'an export of Sub2API',
  'an export of claude-relay-service',
]

/** Reads the accounts out of a file's text, in whichever of the known formats it is. Throws `invalid_request` if it is none. */
export function accountsInFile(text: string): FoundAccount[] {
  const document = unwrapped(parsed(text))
  if (isRecord(document)) {
    if (isRecord(document.tokens)) return fromCodexLogin(document.tokens)
    if (typeof document.access_token === 'string') return fromGeminiLogin(document.access_token, document.expiry_date)
    if (CRS_LISTS.some(([list]) => Array.isArray(document[list]))) return fromClaudeRelayService(document)
    if (Array.isArray(document.accounts) && isSub2api(document, document.accounts)) {
      return document.accounts.map((entry, index) => fromSub2api(entry, index))
    }
  }
  const list = isRecord(document) ? document.accounts : document
  if (Array.isArray(list)) return list.map((entry, index) => fromOwnList(entry, index))
  throw new GatewayError('invalid_request', `this file is none of: ${FORMATS.join('; ')}`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {}
  try {
    return parse(text)
  } catch (error) {
    throw new GatewayError('invalid_request', `neither JSON nor YAML: ${(error as Error).message.split(':\n')[0]}`)
  }
}

/** What an admin API answers: `{ success, data }` or `{ code, data }` around the document itself. */
function unwrapped(document: unknown): unknown {
  return isRecord(document) && isRecord(document.data) ? document.data : document
}

// ---- our own list ----

const ownEntry = z.strictObject({
  provider: z.enum(PROVIDERS),
  name: z.string().min(1),
  api_key: z.string().min(1).optional(),
  access_token: z.string().min(1).optional(),
  account_id: z.string().min(1).optional(),
  base_url: z.string().optional(),
  priority: z.number().int().min(0).optional(),
  weight: z.number().int().min(0).optional(),
  concurrency: z.number().int().min(0).nullable().optional(),
  models: z.array(z.string()).optional(),
  model_map: z.record(z.string(), z.string()).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  expires: z.union([z.string(), z.date()]).optional(),
})

function fromOwnList(entry: unknown, index: number): FoundAccount {
  const named = isRecord(entry) ? entry : {}
  const result = ownEntry.safeParse(entry)
  const head = { ...headOf(index, named, named.provider), paused: false, leftOut: [] }
  if (typeof named.provider === 'string' && !isProvider(named.provider))
    return { ...head, ...unsupported(named.provider) }
  if (!result.success) {
    const [issue] = result.error.issues
    return { ...head, account: { refusal: `${issue?.path.join('.') || 'the entry'}: ${issue?.message}` } }
  }
  const { data } = result
  const expiresAtMs = data.expires === undefined ? null : new Date(data.expires).getTime()
  if (Number.isNaN(expiresAtMs)) return { ...head, account: { refusal: 'expires: not a date such as 2027-01-31' } }
  const { provider, priority, weight, concurrency, models, model_map: modelMap, headers } = data
  const signing = signingWith(data)
  if ('refusal' in signing) return { ...head, account: signing }
  const account = { provider, ...signing, baseUrl: data.base_url ?? null, expiresAtMs }
  return { ...head, account: { ...account, priority, weight, concurrency, models, modelMap, headers } }
}

/** By what an entry's account signs its calls. */
function signingWith(entry: z.infer<typeof ownEntry>): Pick<NewAccount, 'apiKey' | 'oauth'> | { refusal: string } {
  const { provider, api_key: apiKey, access_token: accessToken, account_id: accountId } = entry
  if (apiKey !== undefined && accessToken === undefined) return { apiKey: apiKey.trim() }
  if (accessToken === undefined || apiKey !== undefined) return { refusal: 'it needs either api_key or access_token' }
  const { title, oauthBaseUrl } = providers[provider]
  if (oauthBaseUrl === null) return { refusal: `${title} accounts with an access token cannot be used yet` }
  return tokenOf(accessToken.trim(), accountId ?? null)
}

function tokenOf(accessToken: string, accountId: string | null): Required<Pick<NewAccount, 'apiKey' | 'oauth'>> {
  return { apiKey: accessToken, oauth: oauthOf(accessToken, accountId) }
}

// ---- Codex: what it keeps of a ChatGPT login ----

function fromCodexLogin(tokens: Record<string, unknown>): FoundAccount[] {
  const { access_token: accessToken, account_id: accountId } = tokens
  const head = { from: 'tokens', name: 'chatgpt', provider: 'openai', paused: false }
  if (typeof accessToken !== 'string' || accessToken.trim() === '') {
    return [{ ...head, leftOut: [], account: { refusal: 'it has no access token' } }]
  }
  const signing = tokenOf(accessToken.trim(), typeof accountId === 'string' ? accountId : null)
  const leftOut = ['its refresh token: what it stands for is renewed by Codex alone']
  return [{ ...head, leftOut, account: { provider: 'openai', ...signing, baseUrl: null } }]
}

// ---- Gemini CLI: what it keeps of a Google login ----

function fromGeminiLogin(accessToken: string, expires: unknown): FoundAccount[] {
  const leftOut = ['its refresh token: what it stands for is renewed by Gemini CLI alone']
  const oauth = { accountId: null, expiresAtMs: Number.isSafeInteger(expires) ? (expires as number) : null }
  const account = { provider: 'gemini' as const, apiKey: accessToken.trim(), oauth, baseUrl: null }
  return [{ from: 'access_token', name: 'google', provider: 'gemini', paused: false, leftOut, account }]
}

// ---- Sub2API: its account export (`sub2api-data`, version 1) ----

const SUB2API_TYPES = new Set(['sub2api-data', 'sub2api-bundle'])

function isSub2api(document: Record<string, unknown>, accounts: unknown[]): boolean {
  if (typeof document.type === 'string') return SUB2API_TYPES.has(document.type)
  return accounts.every((entry) => isRecord(entry) && 'platform' in entry && 'credentials' in entry)
}

function fromSub2api(entry: unknown, index: number): FoundAccount {
  const fields = isRecord(entry) ? entry : {}
  const credentials = isRecord(fields.credentials) ? fields.credentials : {}
  const { leftOut, ...served } = modelsOf(credentials.model_mapping)
  const head = {
    ...headOf(index, fields, fields.platform),
    paused: false,
    leftOut: [
      ...(fields.proxy_key ? ['its proxy'] : []),
      ...(typeof fields.rate_multiplier === 'number' && fields.rate_multiplier !== 1 ? ['its rate multiplier'] : []),
      ...leftOut,
    ],
  }
  if (fields.type !== 'apikey' && fields.type !== 'upstream') {
    return {
      ...head,
      account: { refusal: `accounts of type '${String(fields.type)}' cannot be used yet, only API keys` },
    }
  }
  return { ...head, account: keyAccount(head.provider, credentials, { ...fields, ...served }) }
}

// ---- claude-relay-service: its account export ----

/** Lists in the export, the provider of their accounts, and why they cannot be taken (null = they can). */
const CRS_LISTS: [list: string, provider: string, refusal: string | null][] = [
  ['claudeConsoleAccounts', 'anthropic', null],
  ['claudeAccounts', 'anthropic', 'OAuth accounts cannot be used yet, only API keys'],
  ['openaiResponsesAccounts', 'openai', null],
  ['openaiOAuthAccounts', 'openai', 'OAuth accounts cannot be used yet, only API keys'],
  ['geminiApiKeyAccounts', 'gemini', null],
  ['geminiOAuthAccounts', 'gemini', 'OAuth accounts cannot be used yet, only API keys'],
  ['geminiAccounts', 'gemini', 'OAuth accounts cannot be used yet, only API keys'],
]

function fromClaudeRelayService(document: Record<string, unknown>): FoundAccount[] {
  return CRS_LISTS.flatMap(([list, provider, refusal]) =>
    (Array.isArray(document[list]) ? document[list] : []).map((entry: unknown, index): FoundAccount => {
      const fields = isRecord(entry) ? entry : {}
      const credentials = isRecord(fields.credentials) ? fields.credentials : fields
      const { leftOut, ...served } = modelsOf(fields.supportedModels)
      const head = {
        ...headOf(index, fields, provider),
        from: `${list}, entry ${index + 1}`,
        paused: isFalse(fields.isActive) || isFalse(fields.schedulable),
        leftOut: [...(isRecord(fields.proxy) ? ['its proxy'] : []), ...leftOut],
      }
      if (refusal) return { ...head, account: { refusal } }
      const concurrency = Number(fields.maxConcurrentTasks ?? 0)
      return { ...head, account: keyAccount(provider, credentials, { ...fields, concurrency, ...served }) }
    }),
  )
}

/** The script that reads Redis writes every field as text. */
function isFalse(value: unknown): boolean {
  return value === false || value === 'false'
}

// ---- shared ----

function headOf(index: number, fields: Record<string, unknown>, provider: unknown) {
  const name = typeof fields.name === 'string' ? fields.name.trim() : ''
  return { from: `entry ${index + 1}`, name: name || `imported-${index + 1}`, provider: String(provider ?? 'unknown') }
}

/** An account with an API key, from fields that both exports call alike; 0 calls at a time means no limit there. */
function keyAccount(
  provider: string,
  credentials: Record<string, unknown>,
  fields: { priority?: unknown; concurrency?: unknown; expires_at?: unknown; models: string[]; modelMap: ModelMap },
): FoundAccount['account'] {
  if (!isProvider(provider)) return unsupported(provider).account
  const apiKey = credentials.api_key ?? credentials.apiKey
  if (typeof apiKey !== 'string' || apiKey.trim() === '') return { refusal: 'it has no API key' }
  const baseUrl = credentials.base_url ?? credentials.baseUrl ?? credentials.apiUrl
  const priority = Number(fields.priority)
  const concurrency = Number(fields.concurrency)
  const expires = Number(fields.expires_at)
  return {
    provider,
    apiKey: apiKey.trim(),
    baseUrl: typeof baseUrl === 'string' && baseUrl.trim() !== '' ? withOwnVersion(baseUrl.trim(), provider) : null,
    ...(Number.isInteger(priority) && priority >= 0 && { priority }),
    concurrency: Number.isInteger(concurrency) && concurrency > 0 ? concurrency : null,
    expiresAtMs: fields.expires_at && Number.isFinite(expires) ? expires * 1000 : null,
    models: fields.models,
    modelMap: fields.modelMap,
  }
}

/** Both write base URLs with or without `/v1` and the path of an endpoint; ours are as the provider's own is. */
function withOwnVersion(url: string, provider: ProviderName): string {
  const bare = url.replace(/\/+$/, '').replace(/\/v1(?:beta)?(\/messages|\/responses|\/chat\/completions)?$/, '')
  return bare + new URL(providers[provider].defaultBaseUrl).pathname.replace(/\/$/, '')
}

/**
 * A list of models, or a map from names to names: nothing else is served then, and what has its own name for a value is
 * sent as it is asked for.
 */
function modelsOf(value: unknown): { models: string[]; modelMap: ModelMap; leftOut: string[] } {
  const read = typeof value === 'string' ? parsedOr(value, null) : value
  if (!isRecord(read)) {
    const models = Array.isArray(read) ? read.filter((model) => typeof model === 'string') : []
    return { models, modelMap: {}, leftOut: [] }
  }
  const models = Object.keys(read)
  const modelMap = Object.fromEntries(Object.entries(read).filter(([asked, sent]) => asked !== sent))
  return isModelMap(modelMap) ? { models, modelMap, leftOut: [] } : { models, modelMap: {}, leftOut: ['its model map'] }
}

/** True if it can be one here. */
function isModelMap(map: Record<string, unknown>): map is ModelMap {
  if (Object.values(map).some((sent) => typeof sent !== 'string')) return false
  try {
    checkedModelMap(map as ModelMap)
    return true
  } catch (error) {
    if (isGatewayError(error)) return false
    throw error
  }
}

function parsedOr(text: string, otherwise: unknown): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return otherwise
  }
}

function unsupported(provider: string) {
  return { account: { refusal: `the provider '${provider}' is not supported yet` } }
}

function isProvider(name: string): name is ProviderName {
  return (PROVIDERS as readonly string[]).includes(name)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

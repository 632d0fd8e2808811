import type { Credentials, OauthCredentials, PauseAt, ProviderName, VendorWindow } from '../domain/account.ts'
import type { ClientName } from '../domain/call.ts'
import type { Deadlines } from '../domain/deadline.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Limit } from '../domain/limit.ts'
import { checkedModelMap, type ModelMap } from '../domain/model-map.ts'
import { newId } from '../lib/id.ts'
import { providers } from '../providers/index.ts'
import type { AccountChanges, AddAccount, StoredAccount } from '../store/store.ts'
import { checkBaseUrl } from '../upstream/urls.ts'
import { oauthOf } from './access-token.ts'
import type { Workspace } from './workspace.ts'

export interface NewAccount {
  provider: ProviderName
  name: string
  /** Its API key, or with `oauth` an access token. */
  apiKey: string
  oauth?: Omit<OauthCredentials, 'kind' | 'accessToken'> | undefined
  /** Null = the provider's own. */
  baseUrl: string | null
  priority?: number | undefined
  weight?: number | undefined
  concurrency?: number | null | undefined
  limits?: Limit[] | undefined
  deadlines?: Partial<Deadlines> | undefined
  models?: string[] | undefined
  modelMap?: ModelMap | undefined
  onlyClient?: ClientName | null | undefined
  hybrid?: boolean | undefined
  pauseAt?: PauseAt[] | undefined
  headers?: Record<string, string> | undefined
  expiresAtMs?: number | null | undefined
  groupIds: string[]
}

const DEFAULT_PRIORITY = 50
const DEFAULT_WEIGHT = 100
/** A subscription is made for one person. */
const DEFAULT_OAUTH_CONCURRENCY = 3

/** Checks the URL, seals the key and stores the account. Throws `invalid_request` or `conflict`. */
export async function addAccount(work: Workspace, input: NewAccount): Promise<StoredAccount> {
  return work.store.accounts.add(preparedAccount(work, input))
}

/** A new account, checked and sealed, as the store takes it. Throws `invalid_request`. */
export function preparedAccount(work: Workspace, input: NewAccount): AddAccount {
  const id = newId('acc')
  const { title, environment, loginClient } = providers[input.provider]
  if (!input.oauth && environment === null) {
    throw new GatewayError('invalid_request', `${title} knows no API keys`, {
      hint: 'Import a login: subgate account import --help',
    })
  }
  return {
    id,
    provider: input.provider,
    name: input.name,
    baseUrl: checkBaseUrl(input.baseUrl ?? defaultBaseUrl(input), work.config.urls),
    priority: input.priority ?? DEFAULT_PRIORITY,
    weight: input.weight ?? DEFAULT_WEIGHT,
    concurrency:
      input.concurrency === undefined && input.oauth ? DEFAULT_OAUTH_CONCURRENCY : (input.concurrency ?? null),
    limits: input.limits ?? [],
    deadlines: input.deadlines ?? {},
    models: input.models ?? [],
    modelMap: checkedModelMap(input.modelMap ?? {}),
    hybrid: input.hybrid ?? false,
    onlyClient: input.onlyClient === undefined && input.oauth ? loginClient : (input.onlyClient ?? null),
    pauseAt: checkedPauses(input.provider, [], input.pauseAt ?? []),
    headers: checkedHeaders(input.headers ?? {}),
    expiresAtMs: input.expiresAtMs ?? input.oauth?.expiresAtMs ?? null,
    ...sealed(work, id, input),
    groupIds: input.groupIds,
    by: work.by,
  }
}

export type AccountUpdate = Omit<AccountChanges, 'sealedCredentials' | 'last4'> & { apiKey?: string }

/** Changes an account; a new key replaces the old one and ends its rest. Throws `invalid_request` or `conflict`. */
export async function updateAccount(work: Workspace, id: string, update: AccountUpdate): Promise<StoredAccount> {
  const { apiKey, baseUrl, modelMap, headers, ...rest } = update
  if (update.pauseAt) {
    const { provider, windows } = await work.store.accounts.find(id)
    checkedPauses(provider, windows, update.pauseAt)
  }
  const changes: AccountChanges = {
    ...(apiKey !== undefined && (await renewed(work, id, apiKey))),
    ...rest,
    ...(baseUrl !== undefined && { baseUrl: checkBaseUrl(baseUrl, work.config.urls) }),
    ...(modelMap !== undefined && { modelMap: checkedModelMap(modelMap) }),
    ...(headers !== undefined && { headers: checkedHeaders(headers) }),
  }
  return work.store.accounts.set({ id, changes, by: work.by })
}

/** A new key, or for an account that signs with an access token a new one of these, with which it ends. */
async function renewed(work: Workspace, id: string, apiKey: string): Promise<AccountChanges> {
  const before = openedOrNull(work, await work.store.accounts.find(id))
  if (before?.kind !== 'oauth') return sealed(work, id, { apiKey })
  const oauth = oauthOf(apiKey, before.accountId)
  return { ...sealed(work, id, { apiKey, oauth }), expiresAtMs: oauth.expiresAtMs }
}

/** Null for what this master key does not open: it is replaced all the same. */
function openedOrNull(work: Workspace, account: StoredAccount): Credentials | null {
  try {
    return work.secrets.openCredentials(account)
  } catch {
    return null
  }
}

/** Where an account calls that says nothing else. Throws `invalid_request` for an access token that its provider does not take. */
export function defaultBaseUrl({ provider, oauth }: Pick<NewAccount, 'provider' | 'oauth'>): string {
  const { title, defaultBaseUrl, oauthBaseUrl } = providers[provider]
  if (!oauth) return defaultBaseUrl
  if (oauthBaseUrl === null) throw new GatewayError('invalid_request', `${title} accounts need an API key`)
  return oauthBaseUrl
}

function sealed(
  work: Workspace,
  id: string,
  { apiKey, oauth }: Pick<NewAccount, 'apiKey' | 'oauth'>,
): { sealedCredentials: string; last4: string } {
  const credentials: Credentials = oauth
    ? { kind: 'oauth', accessToken: checkedToken(apiKey), ...oauth }
    : { kind: 'api_key', apiKey: checkedKey(apiKey) }
  return { sealedCredentials: work.secrets.sealCredentials(id, credentials), last4: apiKey.slice(-4) }
}

/** A window that is never told would never pause the account. */
function checkedPauses(provider: ProviderName, told: readonly VendorWindow[], pauseAt: PauseAt[]): PauseAt[] {
  const known = new Set([...providers[provider].windowNames, ...told.map(({ name }) => name)])
  const unknown = pauseAt.find(({ window }) => !known.has(window))
  if (!unknown) return pauseAt
  throw new GatewayError('invalid_request', `${providers[provider].title} has no window '${unknown.window}'`, {
    hint: `Its windows are ${[...known].join(', ')}.`,
  })
}

/** A key goes into a header: no spaces, no control characters. */
function checkedKey(apiKey: string): string {
  if (!/^[\x21-\x7e]{8,512}$/.test(apiKey)) {
    throw new GatewayError('invalid_request', 'an API key has 8 to 512 visible ASCII characters and no spaces')
  }
  return apiKey
}

function checkedToken(accessToken: string): string {
  if (!/^[\x21-\x7e]{16,8192}$/.test(accessToken)) {
    throw new GatewayError('invalid_request', 'an access token has 16 to 8192 visible ASCII characters and no spaces')
  }
  return accessToken
}

/** Names that say who we are or how the message is framed are not the operator's to set. */
const RESERVED = new Set(
  'host content-length transfer-encoding connection keep-alive upgrade expect te x-api-key x-goog-api-key authorization'.split(
    ' ',
  ),
)

function checkedHeaders(headers: Record<string, string>): Record<string, string> {
  const checked: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(lower) || !/^[\x20-\x7e]*$/.test(value)) {
      throw new GatewayError('invalid_request', `'${name}' is not a header that can be sent`)
    }
    if (RESERVED.has(lower)) throw new GatewayError('invalid_request', `the header '${lower}' cannot be set`)
    checked[lower] = value
  }
  return checked
}

import type { Account, Credentials, ProviderName, VendorWindow } from '../domain/account.ts'
import type { ClientName, ProtocolName } from '../domain/call.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import type { SignatureVendor } from '../protocols/neutral.ts'
import type { AnswerEdit, Headers, ServedModel } from '../protocols/protocol.ts'
import type { SseEvent } from '../protocols/sse.ts'

/** What vendors do for those who pay by use, and for no login; asked for and answered in their own format only. */
const KEY_OPERATIONS = [
  'completions',
  'embeddings',
  'moderations',
  'image_generations',
  'image_edits',
  'image_variations',
  'speech',
  'transcriptions',
  'translations',
  'predictions',
  /** What lies at an account, files and the like: by method and path as the client wrote them. */
  'objects',
] as const
export type KeyOperation = (typeof KEY_OPERATIONS)[number]

const OF_KEYS: ReadonlySet<string> = new Set(KEY_OPERATIONS)

/** Only an account with an API key can be asked for it. */
export function takesApiKey(operation: Operation): boolean {
  return OF_KEYS.has(operation)
}

/**
 * What we ask an upstream for: an answer, the length of a prompt, a shorter conversation (of Responses alone), one of the above, its models,
 * what account or project calls belong to.
 */
export type Operation = 'messages' | 'count_tokens' | 'compact' | KeyOperation | 'models' | 'identity'

/** What of a client's request may matter to an upstream. */
export interface Forwarded {
  headers: Headers
  /** The format of the body, one that the provider speaks; absent = its first. */
  protocol?: ProtocolName
  /** With its `?`, or empty. */
  query: string
  /** The client's; absent = the request was made here. */
  method?: string
  /** The client's path, for a format in which it says what is asked for; absent = the request was made here, or in another format. */
  path?: string
  /** The model as the upstream is to be asked for it; absent = as the body or the path says. */
  model?: string
  /** A stream of events is wanted, of a request that was made here. */
  stream?: boolean
  /** The call's id; absent = the request is none of a client's. */
  callId?: string
}

export interface UpstreamRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** The account's base URL; the connection pool belongs to it. */
  baseUrl: string
  /** Path under the base URL, with its query. */
  path: string
  /** Names and values in turn. */
  headers: string[]
  body: Buffer | null
  /** Names of what the body says no more, because this account's upstream would refuse it; absent = nothing. */
  dropped?: string[]
}

/** The head of an upstream's answer; header names in lower case. */
export interface ResponseHead {
  status: number
  headers: Headers
}

/** What of an account matters to a request. */
export type CalledAccount = Pick<Account, 'baseUrl' | 'headers'>

/** An upstream service. Pure: what differs from service to service is here, and nothing of it anywhere else. */
export interface Provider {
  readonly name: ProviderName
  /** As people write it. */
  readonly title: string
  readonly defaultBaseUrl: string
  /** Where accounts call that sign with an OAuth access token; null = it takes no such token. */
  readonly oauthBaseUrl: string | null
  /** The program for which the vendor gives logins: unless its operator says otherwise, a login serves no other. Null = none that we know. */
  readonly loginClient: ClientName | null
  /** Environment variables in which its own tools keep an API key, and a base URL to go with it; null = they know no key. */
  readonly environment: { apiKey: string; baseUrl: string } | null
  /** Patterns served by accounts that name none. */
  readonly defaultModels: readonly string[]
  /** It has a path of its own, and its accounts serve the general ones only as hybrids; absent = all accounts serve those. */
  readonly hasOwnPath?: boolean
  /** Native formats. */
  speaks(account: Account): readonly ProtocolName[]
  /** Whose signatures a model of its reads, and makes: a request that is translated for it keeps no others. */
  signedBy(upstreamModel: string): SignatureVendor
  /** True where an answer comes as a stream even to a request without one, which `request` then turns into one with. */
  alwaysStreams?(account: Account): boolean
  request(
    operation: Operation,
    forwarded: Forwarded,
    account: CalledAccount,
    credentials: Credentials,
    body: Buffer | null,
  ): UpstreamRequest
  /** Takes answers of an account out of the envelope that they come in, before anybody reads them; null, or no such function = they come in none. */
  unwrap?(account: Account, stream: boolean): AnswerEdit | null
  /** Whose fault an answer with an error status is, or a 200 that is no answer. */
  readFault(head: ResponseHead, body: Buffer, nowMs: number): UpstreamFault
  /** Whose fault an error event inside a stream is. */
  readStreamFault(event: SseEvent): UpstreamFault
  /** Names of windows that it is known to have. Accounts may be told of others. */
  readonly windowNames: readonly string[]
  /** What an answer's head tells of the account's windows, by name; what cannot be read is left out. Never throws. */
  readWindows(head: ResponseHead, nowMs: number): VendorWindow[]
  /** The model ids of a model list's body. Throws if it is none. */
  readModels(body: Buffer): ServedModel[]
  /**
   * What an answer to `identity` says that an OAuth account's calls belong to, which its token does not say; null if it says
   * nothing. Absent: there is nothing to ask.
   */
  readAccountId?(body: Buffer): string | null
  /** What a model list tells of the account's windows; absent = nothing. Never throws. */
  readListedWindows?(body: Buffer, nowMs: number): VendorWindow[]
  /** The header in which it names a request of its own. */
  readonly requestIdHeader: string
}

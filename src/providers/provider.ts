import type { Account, Credentials, ProviderName, VendorWindow } from '../domain/account.ts'
import type { ProtocolName } from '../domain/call.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import type { Headers, ServedModel } from '../protocols/protocol.ts'
import type { SseEvent } from '../protocols/sse.ts'

/** What we ask an upstream for: an answer, the length of a prompt, a shorter conversation (of Responses alone), its models. */
export type Operation = 'messages' | 'count_tokens' | 'compact' | 'models'

/** What of a client's request may matter to an upstream. */
export interface Forwarded {
  headers: Headers
  /** The format of the body, one that the provider speaks; absent = its first. */
  protocol?: ProtocolName
  /** With its `?`, or empty. */
  query: string
}

export interface UpstreamRequest {
  method: 'GET' | 'POST'
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

/** An upstream service. Pure: what differs from service to service is here, and nothing of it anywhere else. */
export interface Provider {
  readonly name: ProviderName
  /** As people write it. */
  readonly title: string
  readonly defaultBaseUrl: string
  /** Where accounts call that sign with an OAuth access token; null = it takes no such token. */
  readonly oauthBaseUrl: string | null
  /** Environment variables in which its own tools keep an API key, and a base URL to go with it. */
  readonly environment: { apiKey: string; baseUrl: string }
  /** Patterns served by accounts that name none. */
  readonly defaultModels: readonly string[]
  /** Native formats. */
  speaks(account: Account): readonly ProtocolName[]
  /** True where an answer comes as a stream even to a request without one, which `request` then turns into one with. */
  alwaysStreams?(account: Account): boolean
  request(
    operation: Operation,
    forwarded: Forwarded,
    account: Account,
    credentials: Credentials,
    body: Buffer | null,
  ): UpstreamRequest
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
  /** The header in which it names a request of its own. */
  readonly requestIdHeader: string
}

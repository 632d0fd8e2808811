import type { LimitWindow } from './limit.ts'

/**
 * Every refusal that subgate itself makes, with the HTTP status a protocol uses for it unless its clients need another.
 * A protocol's `renderError` may choose its own status (Anthropic: overloaded is 529).
 */
export const ERROR_STATUS = {
  invalid_request: 400,
  unauthenticated: 401,
  insufficient_funds: 402,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  limited: 429,
  internal: 500,
  not_supported: 501,
  overloaded: 503,
  unavailable: 503,
  timed_out: 504,
} as const

export type ErrorCode = keyof typeof ERROR_STATUS

/** What a client or an operator may want to know beside the sentence. */
export interface ErrorFacts {
  /** How long the caller should wait before it tries again, in milliseconds. */
  retryAfterMs?: number
  /** `false` = trying again cannot help; clients that obey `x-should-retry` stop at once. */
  shouldRetry?: boolean
  /** It is about a thing at an account (a file, a batch …), and no model. */
  isAboutObject?: true
  /** The operator wants clients to see this status instead of the code's own. */
  status?: number
  /** The caller has used up a limit of its own over this window: clients that know such limits show the message. */
  usedUp?: LimitWindow
  /** The operator's remedy, as a sentence of its own: the command line shows it under the error; no client hears of either. */
  hint?: string
}

/** An error with a code that callers may branch on and a message made for the reader. Whatever is not one of these is a bug. */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly facts: ErrorFacts

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message)
    this.name = 'GatewayError'
    this.code = code
    this.facts = facts
  }
}

/** True if `error` is a GatewayError, of the given code if one is named. */
export function isGatewayError(error: unknown, code?: ErrorCode): error is GatewayError {
  return error instanceof GatewayError && (code === undefined || error.code === code)
}

/** The code that a status stands for, as well as one can tell. */
export function codeOfStatus(status: number): ErrorCode {
  const same = (Object.keys(ERROR_STATUS) as ErrorCode[]).find((code) => ERROR_STATUS[code] === status)
  if (same) return same
  if (status === 529) return 'overloaded'
  return status >= 500 ? 'unavailable' : 'invalid_request'
}

/** What the operator wants clients to hear instead of an upstream's error. All conditions hold together; empty = any. */
export interface ErrorRule {
  provider: string | null
  /** The upstream's. */
  statuses: number[]
  /** One of them has to be in the error's text, in any case. */
  keywords: string[]
  /** Null: as it would have been. */
  answer: { status: number | null; message: string | null }
}

/** True if the text has one of the words in it, in any case; always without words. */
export function saysOneOf(text: string, keywords: readonly string[]): boolean {
  if (keywords.length === 0) return true
  const lower = text.toLowerCase()
  return keywords.some((keyword) => lower.includes(keyword.toLowerCase()))
}

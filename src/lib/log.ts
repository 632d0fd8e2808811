import type { Logger } from 'pino'

export type { Logger }

/** What stands where a secret was. */
export const REDACTED = '[redacted]'

/** A key may follow anything but a letter (`disk-…` is none), or an escape in a URL (`%3Dsk-…`). */
const KEY_START = '(?:(?<![A-Za-z])|(?<=%[0-9A-Fa-f]{2}))'

/**
 * Anything that looks like a credential: vendors' and our own key forms, what stands behind the usual names and schemes,
 * URL passwords, and long random text (keys with a prefix of the operator's choice). All take time linear in the text.
 */
const SECRET_FORMS = new RegExp(
  [
    `${KEY_START}(?:sk|rk|pk)-[A-Za-z0-9_-]{12,}`, // Anthropic, OpenAI and our own keys
    `${KEY_START}AIza[0-9A-Za-z_-]{20,}`, // Google API keys
    String.raw`${KEY_START}ya29\.[0-9A-Za-z_-]{10,}`, // Google access tokens
    String.raw`(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, // JWTs
  ].join('|'),
  'g',
)
const AFTER_A_SCHEME = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi
const AFTER_A_NAME =
  /((?:(?:api|access|refresh|auth|master)[-_]?(?:key|token)|client[-_]?secret|authorization|password|[?&]key)\\?["']?(?:=|:\s{0,8})\\?["']?)[^\s"'\\&,;]{8,}/gi
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]{0,30}:\/\/[^/\s:@]{0,256}:)[^/\s]+@/gi
const LONG_TEXT = /[A-Za-z0-9_-]{40,}/g

/**
 * Takes everything out of a text that looks like a credential. The one redaction function: log lines and error messages
 * go through it before they leave the process.
 */
export function redact(text: string): string {
  return text
    .replace(SECRET_FORMS, REDACTED)
    .replace(AFTER_A_SCHEME, (_, scheme: string) => `${scheme} ${REDACTED}`)
    .replace(AFTER_A_NAME, (_, name: string) => name + REDACTED)
    .replace(URL_PASSWORD, (_, before: string) => `${before}${REDACTED}@`)
    .replace(LONG_TEXT, (long) => (isRandom(long) ? REDACTED : long))
}

/** 30 and more random bytes in base64url have all three kinds of characters; names and digests in hexadecimal do not. */
function isRandom(text: string): boolean {
  return /[a-z]/.test(text) && /[A-Z]/.test(text) && /[0-9]/.test(text)
}

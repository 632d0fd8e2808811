import type { Logger } from 'pino'

export type { Logger }

/** What stands where a secret was. */
export const REDACTED = '[redacted]'

/**
 * Anything that looks like a credential: vendors' and our own key forms, bearer and basic values, URL passwords.
 * The one redaction function: log lines and error messages go through it before they leave the process.
 */
const SECRET_FORMS = new RegExp(
  [
    String.raw`\b(?:sk|rk|pk)-[A-Za-z0-9_-]{12,}`, // Anthropic, OpenAI and our own keys
    String.raw`\bAIza[0-9A-Za-z_-]{20,}`, // Google API keys
    String.raw`\bya29\.[0-9A-Za-z_-]{10,}`, // Google access tokens
    String.raw`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, // JWTs
  ].join('|'),
  'g',
)
const AFTER_A_SCHEME = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:)[^/\s@]+@/gi

/** Takes everything out of a text that looks like a credential. */
export function redact(text: string): string {
  return text
    .replace(SECRET_FORMS, REDACTED)
    .replace(AFTER_A_SCHEME, (_, scheme: string) => `${scheme} ${REDACTED}`)
    .replace(URL_PASSWORD, (_, before: string) => `${before}${REDACTED}@`)
}

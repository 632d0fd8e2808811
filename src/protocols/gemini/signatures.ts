import { isRedacted, unwrappedSignature, wrappedSignature } from '../foreign-signature.ts'
import type { ReasoningBlock, Signature } from '../neutral.ts'

/** What stands for a signature that somebody has lost; Gemini 3 refuses a call without any. */
export const NO_SIGNATURE = 'skip_thought_signature_validator'
const STAND_INS = new Set([NO_SIGNATURE, 'context_engineering_is_the_way_to_go'])

/** What a part says of the thoughts before it. */
export interface Mark {
  signature: Signature
  redacted: boolean
}

/** The field holds base64, and clients in Python insist on it: so does what other vendors' signatures are wrapped in. */
const WRAPPED = /^c3ViZ2F0ZS[4-7]/ // `subgate.`

export function markForClient({ signature, redacted }: ReasoningBlock): string | null {
  if (!signature) return null
  if (signature.vendor === 'gemini') return signature.value
  return Buffer.from(wrappedSignature(signature, 'gemini', redacted)).toString('base64')
}

/** Null for what is no signature. */
export function markOfClient(value: string): Mark | null {
  if (value === '' || STAND_INS.has(value)) return null
  if (!WRAPPED.test(value)) return { signature: { vendor: 'gemini', value }, redacted: false }
  const wrapped = Buffer.from(value, 'base64').toString('utf8')
  return { signature: unwrappedSignature(wrapped, 'gemini'), redacted: isRedacted(wrapped) }
}

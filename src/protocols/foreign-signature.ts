import { SIGNATURE_VENDORS, type Signature, type SignatureVendor } from './neutral.ts'

/** What a vendor's signature is wrapped in where it travels through another vendor's client: `subgate.gemini.…`. */
const MARK = 'subgate'
/** Behind the vendor's name: the signature stands for words that the vendor hid, and has to go back as such. */
const REDACTED = '-redacted'

/** As a client of the format that belongs to `own` keeps it: its own vendor's as it is, any other wrapped. */
export function wrappedSignature({ vendor, value }: Signature, own: SignatureVendor, redacted = false): string {
  return vendor === own ? value : `${MARK}.${vendor}${redacted ? REDACTED : ''}.${value}`
}

/** What such a client brings back. */
export function unwrappedSignature(text: string, own: SignatureVendor): Signature {
  const [mark, name, ...value] = text.split('.')
  const vendor = SIGNATURE_VENDORS.find((one) => one === name || `${one}${REDACTED}` === name)
  return mark === MARK && vendor ? { vendor, value: value.join('.') } : { vendor: own, value: text }
}

/** True for a wrapped signature of words that another vendor hid. */
export function isRedacted(text: string): boolean {
  return SIGNATURE_VENDORS.some((vendor) => text.startsWith(`${MARK}.${vendor}${REDACTED}.`))
}

/** Whether a request has anything in it that begins as a wrapped signature does. */
export function mayHoldForeignSignature(body: Buffer): boolean {
  return body.includes(`"${MARK}.`)
}

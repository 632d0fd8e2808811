import { SIGNATURE_VENDORS, type Signature, type SignatureVendor } from './neutral.ts'

/** What a vendor's signature is wrapped in where it travels through another vendor's client: `subgate.gemini.…`. */
const MARK = 'subgate'

/** As a client of the format that belongs to `own` keeps it: its own vendor's as it is, any other wrapped. */
export function wrappedSignature({ vendor, value }: Signature, own: SignatureVendor): string {
  return vendor === own ? value : `${MARK}.${vendor}.${value}`
}

/** What such a client brings back. */
export function unwrappedSignature(text: string, own: SignatureVendor): Signature {
  const [mark, name, ...value] = text.split('.')
  const vendor = SIGNATURE_VENDORS.find((one) => one === name)
  return mark === MARK && vendor ? { vendor, value: value.join('.') } : { vendor: own, value: text }
}

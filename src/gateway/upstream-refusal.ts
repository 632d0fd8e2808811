/** The upstream refused the request itself: status and body go to the client as they came, because clients match on the wording. */
export class UpstreamRefusal extends Error {
  readonly status: number
  readonly headers: string[]
  readonly body: Buffer
  /** The upstream's words, for a client whose answer has begun already. */
  constructor(refusal: { status: number; headers: string[]; body: Buffer; message: string }) {
    super(refusal.message)
    this.status = refusal.status
    this.headers = refusal.headers
    this.body = refusal.body
  }
}

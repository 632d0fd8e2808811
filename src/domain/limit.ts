/** What a limit is set on. */
export type LimitSubject = 'user' | 'key' | 'account'

/** What was asked for and could not be had: which limit, of which subject, until when. */
export interface Refusal {
  subject: LimitSubject
  subjectId: string
  /** concurrent: slots · balance: the user's money · quota: what a key may spend in its lifetime. */
  metric: 'concurrent' | 'balance' | 'quota'
  /** line_full: no place left in line · waited: the call's whole waiting time passed · spent: nothing left. */
  reason: 'line_full' | 'waited' | 'spent'
  /** Slots, or nano-USD. */
  limit: number
  used: number
  /** When trying again may help, in ms; null = not by waiting. */
  retryAfterMs: number | null
}

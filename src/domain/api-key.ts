import type { Limit } from './limit.ts'

export type KeyStatus = 'active' | 'revoked'

/** What we issue to users. The key itself is shown once and stored as a hash. */
export interface ApiKey {
  id: string
  userId: string
  groupId: string
  name: string | null
  /** The last four characters, for display. */
  last4: string
  status: KeyStatus
  expiresAtMs: number | null
  /** Calls at a time; null = no limit of its own. */
  concurrency: number | null
  /** What it may spend in its lifetime, in nano-USD; null = no limit. */
  quotaNanoUsd: number | null
  limits: Limit[]
  /** CIDRs; empty = from everywhere. */
  allowIps: string[]
  denyIps: string[]
  /** Model patterns that it may ask for; empty = all. */
  models: string[]
  createdAtMs: number
}

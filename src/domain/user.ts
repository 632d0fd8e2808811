import type { Limit } from './limit.ts'

export type UserRole = 'admin' | 'user'
export type UserStatus = 'active' | 'disabled'

/** Who owns keys and, in SaaS mode, a balance. */
export interface User {
  id: string
  /** Unique, kept in lower case. */
  email: string
  name: string | null
  role: UserRole
  status: UserStatus
  /** What the ledger adds up to. */
  balanceNanoUsd: number
  /** Calls at a time over all keys; null = no limit. */
  concurrency: number | null
  limits: Limit[]
  createdAtMs: number
}

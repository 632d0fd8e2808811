import type { Limit } from './limit.ts'

/** What happens to the upstream call when the client goes away first. */
export const WHEN_CLIENT_LEAVES = ['abort', 'read_on', 'delivered'] as const
export type WhenClientLeaves = (typeof WHEN_CLIENT_LEAVES)[number]

/** A pool of accounts with a price multiplier. */
export interface Group {
  id: string
  name: string
  /** Steps of 1e-6; null = the configured `default.rate_multiplier`. */
  multiplierMicro: number | null
  /** Only users who are attached to it may use it. */
  exclusive: boolean
  /** null = the run mode's default: `abort` in simple mode, `read_on` in SaaS mode. */
  whenClientLeaves: WhenClientLeaves | null
  /** Of all its callers together. */
  limits: Limit[]
  createdAtMs: number
}

/** A user's own standing in a group. */
export interface GroupMember {
  userId: string
  /** Takes the place of the group's multiplier for this user; null = the group's. */
  multiplierMicro: number | null
}

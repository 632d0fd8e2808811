import type { Limit } from './limit.ts'

/** What happens to the upstream call when the client goes away first. */
export const WHEN_CLIENT_LEAVES = ['abort', 'read_on', 'delivered'] as const
export type WhenClientLeaves = (typeof WHEN_CLIENT_LEAVES)[number]

/** A group, the one that it falls back to, that one's, and so on: at most so many. */
export const GROUPS_IN_CHAIN_MAX = 8
/** Of one group. */
export const ROUTES_MAX = 64

/** Calls for the models that it matches go to these accounts of the group, and to none of its others. */
export interface ModelRoute {
  /** Such as `claude-opus-*`. */
  pattern: string
  /** At least one. */
  accountIds: string[]
}

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
  /** The first that matches a model counts. */
  routes: ModelRoute[]
  /** Whose accounts are asked when none of its own could take a call; null = none. */
  fallbackGroupId: string | null
  createdAtMs: number
}

/** A user's own standing in a group. */
export interface GroupMember {
  userId: string
  /** Takes the place of the group's multiplier for this user; null = the group's. */
  multiplierMicro: number | null
}

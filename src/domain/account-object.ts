/**
 * Kinds of things that a vendor keeps at the account that made them, and that are asked for again by their id. `response` is an answer that
 * its vendor stores; the call's usage row is what knows of it.
 */
export const OBJECT_KINDS = ['file', 'upload', 'batch', 'cache', 'video', 'response'] as const
export type ObjectKind = (typeof OBJECT_KINDS)[number]

/** Something that lies at one account, and whose it is. Nobody else gets to see, use or delete it. */
export interface AccountObject {
  kind: ObjectKind
  /** The vendor's name for it, as paths and bodies say it: `file-abc`, `files/abc`. */
  id: string
  accountId: string
  userId: string
  /** Unix ms. */
  createdAtMs: number
  /** When its vendor has forgotten it at the latest, unix ms; null = not by itself. */
  expiresAtMs: number | null
}

import type { SlotSubject } from '../domain/limit.ts'

/** How many slots of users, keys and accounts are in use. */
export class Slots {
  readonly #inUse: Record<SlotSubject, Map<string, number>> = { user: new Map(), key: new Map(), account: new Map() }

  inUse(kind: SlotSubject, id: string): number {
    return this.#inUse[kind].get(id) ?? 0
  }

  take(kind: SlotSubject, id: string): void {
    this.#inUse[kind].set(id, this.inUse(kind, id) + 1)
  }

  free(kind: SlotSubject, id: string): void {
    const left = this.inUse(kind, id) - 1
    if (left > 0) this.#inUse[kind].set(id, left)
    else this.#inUse[kind].delete(id)
  }
}

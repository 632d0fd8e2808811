/** What leaves no row in the store: how often something happened since the process started. */
export class Counters {
  readonly #counts = new Map<string, number>()
  /** When a warning was last given, by its subject. */
  readonly #warnedMs = new Map<string, number>()

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** A request that came to nothing, by the word for what it was told. */
  refused(word: string): void {
    this.add(`refused.${word}`)
  }

  /** True once in so many ms for each subject: whether a warning that every call could give is due. */
  mayWarn(subject: string, everyMs: number, nowMs: number): boolean {
    const warnedMs = this.#warnedMs.get(subject)
    if (warnedMs !== undefined && nowMs - warnedMs < everyMs) return false
    this.#warnedMs.delete(subject) // the one warned about last stands last
    this.#warnedMs.set(subject, nowMs)
    const [oldest] = this.#warnedMs.keys()
    if (oldest !== undefined && this.#warnedMs.size > SUBJECTS_MAX) this.#warnedMs.delete(oldest)
    return true
  }

  all(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => a.localeCompare(b)))
  }
}

/** Clients can name as many models as they like; beyond this the oldest may be warned about again. */
const SUBJECTS_MAX = 1000

/** Items in one commit at most, so that none waits for a transaction without end. */
const BATCH_MAX = 512

interface Waiting<T> {
  item: T
  resolve(): void
  reject(error: unknown): void
}

/**
 * Commits items in batches: the next batch gathers while one commits, never by a timer (a 2 ms timer cost 3 ms of
 * latency and gained nothing). If a batch fails for anything but the `isOutage` of the whole target, its items are
 * tried one by one, so that a poisonous one fails alone.
 */
export class GroupCommit<T> {
  #waiting: Waiting<T>[] = []
  #running = false
  readonly #commit: (batch: T[]) => Promise<void>
  readonly #isOutage: (error: unknown) => boolean

  constructor(commit: (batch: T[]) => Promise<void>, isOutage: (error: unknown) => boolean) {
    this.#commit = commit
    this.#isOutage = isOutage
  }

  /** Resolves when the item is committed; rejects with the commit's error. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#running) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH_MAX)
      try {
        await this.#commit(batch.map((waiting) => waiting.item))
        for (const waiting of batch) waiting.resolve()
      } catch (error) {
        if (batch.length === 1 || this.#isOutage(error)) for (const waiting of batch) waiting.reject(error)
        else await this.#oneByOne(batch)
      }
    }
    this.#running = false
  }

  async #oneByOne(batch: Waiting<T>[]): Promise<void> {
    for (const waiting of batch) {
      await this.#commit([waiting.item]).then(waiting.resolve, waiting.reject)
    }
  }
}

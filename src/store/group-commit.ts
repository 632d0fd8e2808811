/** Items in one commit at most, so that none waits for a transaction without end. */
const BATCH_MAX = 512

interface Waiting<T> {
  item: T
  resolve(): void
  reject(error: unknown): void
}

/**
 * Commits items in batches. What comes in one turn of the event loop is one batch; while `lanes` batches commit, the
 * next gathers (never by a timer: 2 ms of waiting cost 3 ms of latency and gained nothing). If a batch fails for
 * anything but an outage of the whole target, its items are tried one by one, so that a poisonous one fails alone.
 */
export class GroupCommit<T> {
  #waiting: Waiting<T>[] = []
  #running = 0
  #scheduled = false
  #whenIdle: (() => void)[] = []
  readonly #lanes: number
  readonly #commit: (batch: T[]) => Promise<unknown>
  readonly #isOutage: (error: unknown) => boolean

  constructor(options: {
    lanes: number
    commit: (batch: T[]) => Promise<unknown>
    isOutage: (error: unknown) => boolean
  }) {
    this.#lanes = options.lanes
    this.#commit = options.commit
    this.#isOutage = options.isOutage
  }

  /** Resolves when the item is committed; rejects with the commit's error. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#schedule()
    })
  }

  /** Resolves when everything that was added is committed or refused. */
  async idle(): Promise<void> {
    if (this.#waiting.length === 0 && this.#running === 0) return
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
  }

  #schedule(): void {
    if (this.#scheduled || this.#running >= this.#lanes) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      while (this.#waiting.length > 0 && this.#running < this.#lanes) void this.#run(this.#waiting.splice(0, BATCH_MAX))
    })
  }

  async #run(batch: Waiting<T>[]): Promise<void> {
    this.#running++
    try {
      await this.#commit(batch.map((waiting) => waiting.item))
      for (const waiting of batch) waiting.resolve()
    } catch (error) {
      if (batch.length === 1 || this.#isOutage(error)) for (const waiting of batch) waiting.reject(error)
      else await this.#oneByOne(batch)
    }
    this.#running--
    if (this.#waiting.length > 0) this.#schedule()
    else if (this.#running === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  async #oneByOne(batch: Waiting<T>[]): Promise<void> {
    for (const waiting of batch) {
      await this.#commit([waiting.item]).then(() => waiting.resolve(), waiting.reject)
    }
  }
}

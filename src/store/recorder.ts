import type { CallRecord } from '../domain/call.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { StoreDriver } from './driver.ts'
import { GroupCommit } from './group-commit.ts'
import type { RecordEntry } from './queries/record.ts'
import type { SpillFile } from './spill.ts'
import type { Recorded } from './store.ts'

/** How often spilled records are offered to the store again. */
const REPLAY_EVERY_MS = 1000

/** How records become durable: committed by the group, or spilled when the store does not answer in time, and replayed later. */
export class Recorder implements AsyncDisposable {
  readonly #commits: GroupCommit<RecordEntry>
  readonly #spills: GroupCommit<RecordEntry> | null
  readonly #spill: SpillFile | null
  readonly #log: Logger
  readonly #chargeWaitMs: number
  #replayTimer: NodeJS.Timeout | null = null

  constructor(
    driver: StoreDriver,
    options: { clock: () => number; chargeWaitMs: number; spill: SpillFile | null; log: Logger },
  ) {
    const { spill } = options
    this.#commits = new GroupCommit((batch) => driver.write('usage.record', batch, options.clock()), isOutage)
    this.#spills = spill && new GroupCommit((batch) => spill.append(batch), isOutage)
    this.#spill = spill
    this.#chargeWaitMs = options.chargeWaitMs
    this.#log = options.log
  }

  /** See UsageStore.record. */
  async record(call: CallRecord, journaled: boolean): Promise<Recorded> {
    const entry = { call, journaled }
    const committed = this.#commits.add(entry)
    if (!this.#spills) {
      await committed
      return 'committed'
    }
    const { promise: tooLate, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => reject(new GatewayError('unavailable', 'the store did not answer in time')),
      this.#chargeWaitMs,
    )
    try {
      await Promise.race([committed, tooLate])
      return 'committed'
    } catch (error) {
      if (!isOutage(error)) throw error
      committed.catch(() => {}) // it may still fail after we have gone on
      await this.#spills.add(entry)
      this.#log.warn(
        { callId: call.id, reason: (error as Error).message },
        'the store did not take a record; it is spilled',
      )
      this.#replaySoon()
      return 'spilled'
    } finally {
      clearTimeout(timer)
    }
  }

  /** Writes what is spilled into the store. If the store does not take it, nothing is lost and it is offered again soon. */
  async replay(): Promise<void> {
    const spill = this.#spill
    if (!spill || spill.entries.length === 0) return
    const entries = [...spill.entries]
    const results = await Promise.allSettled(entries.map((entry) => this.#commits.add(entry)))
    for (const [index, result] of results.entries()) {
      if (result.status === 'fulfilled') continue
      if (isOutage(result.reason)) return this.#replaySoon()
      this.#log.error(
        { call: entries[index]?.call, err: result.reason },
        'a spilled record cannot be stored; this is all of it',
      )
    }
    // Entries that were appended meanwhile keep the file as it is; replaying the others once more moves nothing.
    if (!(await spill.clear(entries.length))) this.#replaySoon()
    this.#log.info({ calls: entries.length }, 'spilled records are in the store')
  }

  #replaySoon(): void {
    this.#replayTimer ??= setTimeout(() => {
      this.#replayTimer = null
      void this.replay()
    }, REPLAY_EVERY_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#replayTimer) clearTimeout(this.#replayTimer)
    await this.#spill?.close()
  }
}

function isOutage(error: unknown): boolean {
  return isGatewayError(error, 'unavailable')
}

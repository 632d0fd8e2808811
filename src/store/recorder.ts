import type { CallRecord } from '../domain/call.ts'
import { isGatewayError } from '../domain/errors.ts'
import type { Logger } from '../lib/log.ts'
import { endedAtMs } from './columns.ts'
import type { StoreDriver } from './driver.ts'
import { GroupCommit } from './group-commit.ts'
import type { RecordEntry } from './queries/record.ts'
import type { SpillFile } from './spill.ts'
import type { Recorded, Spilled } from './store.ts'

/** How often spilled records are offered to the store again. */
const REPLAY_EVERY_MS = 1000

/** How often it is looked whether a record has waited too long. */
const PATIENCE_TICK_MS = 100

interface WaitingRecord extends PromiseWithResolvers<Recorded> {
  entry: RecordEntry
  sinceMs: number
}

/** How records become durable: committed by the group, or spilled when the store does not answer in time, and replayed later. */
export class Recorder implements AsyncDisposable {
  readonly #commits: GroupCommit<RecordEntry>
  readonly #spills: GroupCommit<RecordEntry> | null
  readonly #spill: SpillFile | null
  readonly #log: Logger
  readonly #chargeWaitMs: number
  readonly #clock: () => number
  /** In order of arrival. */
  readonly #waiting = new Set<WaitingRecord>()
  #patience: NodeJS.Timeout | null = null
  #replayTimer: NodeJS.Timeout | null = null
  #replaying: Promise<void> | null = null
  #closing = false

  constructor(
    driver: StoreDriver,
    options: { clock: () => number; chargeWaitMs: number; spill: SpillFile | null; log: Logger },
  ) {
    const { spill } = options
    const commit = (batch: RecordEntry[]) => driver.write('usage.record', batch, options.clock())
    this.#commits = new GroupCommit({ lanes: driver.recordLanes, commit, isOutage })
    this.#spills = spill && new GroupCommit({ lanes: 1, commit: (batch) => spill.append(batch), isOutage })
    this.#spill = spill
    this.#chargeWaitMs = options.chargeWaitMs
    this.#clock = options.clock
    this.#log = options.log
  }

  /** See UsageStore.record. */
  record(call: CallRecord, journaled: boolean): Promise<Recorded> {
    const waiting: WaitingRecord = {
      entry: { call, journaled },
      sinceMs: this.#clock(),
      ...Promise.withResolvers<Recorded>(),
    }
    this.#commits.add(waiting.entry).then(
      () => this.#committed(waiting),
      (error: unknown) => this.#refused(waiting, error),
    )
    if (this.#spills) {
      this.#waiting.add(waiting)
      this.#patience ??= setInterval(() => this.#spillLate(), PATIENCE_TICK_MS)
    }
    return waiting.promise
  }

  /** See UsageStore.spilled. */
  spilled(): Spilled {
    const entries = this.#spill?.entries ?? []
    return { records: entries.length, sinceMs: entries[0] ? endedAtMs(entries[0].call) : null }
  }

  #committed(waiting: WaitingRecord): void {
    this.#waiting.delete(waiting)
    waiting.resolve('committed')
  }

  #refused(waiting: WaitingRecord, error: unknown): void {
    if (this.#spills && isOutage(error)) this.#spillOne(waiting, (error as Error).message)
    else {
      this.#waiting.delete(waiting)
      waiting.reject(error)
    }
  }

  /** Nobody's answer waits longer than that for its charge. */
  #spillLate(): void {
    if (this.#waiting.size === 0) {
      clearInterval(this.#patience ?? undefined)
      this.#patience = null
      return
    }
    const late = this.#clock() - this.#chargeWaitMs
    for (const waiting of this.#waiting) {
      if (waiting.sinceMs > late) return // in order of arrival
      this.#spillOne(waiting, 'the store did not answer in time')
    }
  }

  #spillOne(waiting: WaitingRecord, reason: string): void {
    if (!this.#waiting.delete(waiting)) return // its patience ran out before the refusal came
    this.#spills?.add(waiting.entry).then(() => {
      this.#log.warn({ callId: waiting.entry.call.id, reason }, 'the store did not take a record; it is spilled')
      waiting.resolve('spilled')
      this.#replaySoon()
    }, waiting.reject)
  }

  /** Writes what is spilled into the store, one replay at a time. Rejects with `unavailable` if the store does not take it; nothing is lost then. */
  replay(): Promise<void> {
    this.#replaying ??= this.#replay().finally(() => {
      this.#replaying = null
    })
    return this.#replaying
  }

  async #replay(): Promise<void> {
    const spill = this.#spill
    if (!spill || spill.entries.length === 0) return
    const entries = [...spill.entries]
    const results = await Promise.allSettled(entries.map((entry) => this.#commits.add(entry)))
    for (const [index, result] of results.entries()) {
      if (result.status === 'fulfilled') continue
      if (isOutage(result.reason)) throw result.reason
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
    if (this.#closing) return
    this.#replayTimer ??= setTimeout(() => {
      this.#replayTimer = null
      this.replay().catch((error: Error) => {
        this.#log.debug({ reason: error.message }, 'spilled records wait on')
        this.#replaySoon()
      })
    }, REPLAY_EVERY_MS)
  }

  /** Resolves when every record is durable or refused. What is spilled by then is replayed at the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    clearTimeout(this.#replayTimer ?? undefined)
    await this.#commits.idle()
    await this.#spills?.idle()
    await this.#replaying?.catch(() => {})
    clearInterval(this.#patience ?? undefined)
    await this.#spill?.[Symbol.asyncDispose]()
  }
}

function isOutage(error: unknown): boolean {
  return isGatewayError(error, 'unavailable')
}

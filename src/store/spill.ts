import { type FileHandle, open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { GatewayError } from '../domain/errors.ts'
import type { RecordEntry } from './queries/record.ts'

/** Preallocated, so that a full disk cannot take it away. About 10,000 calls. */
const SPILL_BYTES = 8 * 1024 * 1024
/** Magic, then the epoch: entries of an older epoch are leftovers of what was replayed. */
const HEADER_BYTES = 16
const MAGIC = 'subgspil'
/** Length, epoch, CRC-32 of the JSON. */
const ENTRY_HEADER_BYTES = 12

/**
 * Where call records wait while the store cannot take them: an append-only file, fsynced at each append, replayed
 * idempotently and then started over. One process at a time.
 */
export class SpillFile {
  readonly #file: FileHandle
  #epoch: number
  #end: number
  #entries: RecordEntry[]
  /** Appends and clears happen one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, epoch: number, end: number, entries: RecordEntry[]) {
    this.#file = file
    this.#epoch = epoch
    this.#end = end
    this.#entries = entries
  }

  /** Opens or makes the file (0600). Entries of an earlier run wait in `entries`; a torn last entry was never promised and is dropped. */
  static async open(path: string): Promise<SpillFile> {
    const file = await open(path, 'a+', 0o600).then(async (created) => {
      await created.close()
      return open(path, 'r+')
    })
    const bytes = Buffer.alloc(SPILL_BYTES)
    const { bytesRead } = await file.read(bytes, 0, SPILL_BYTES, 0)
    if (bytesRead < SPILL_BYTES) {
      await file.write(bytes.subarray(bytesRead), 0, SPILL_BYTES - bytesRead, bytesRead)
      await file.sync()
    }
    const known = bytes.toString('latin1', 0, MAGIC.length) === MAGIC
    const epoch = known ? bytes.readUInt32LE(MAGIC.length) : 0
    const { entries, end } = known ? readEntries(bytes, epoch) : { entries: [], end: HEADER_BYTES }
    const spill = new SpillFile(file, epoch, end, entries)
    if (!known) await spill.#startOver()
    return spill
  }

  /** What has not been replayed yet, oldest first. */
  get entries(): readonly RecordEntry[] {
    return this.#entries
  }

  /** Resolves once the entries are on disk. Throws `unavailable` if they do not fit or cannot be written; none of them counts then. */
  append(entries: RecordEntry[]): Promise<void> {
    return this.#inTurn(async () => {
      const bytes = Buffer.concat(entries.map((entry) => encode(entry, this.#epoch)))
      if (this.#end + bytes.length > SPILL_BYTES) throw new GatewayError('unavailable', 'the spill file is full')
      try {
        await this.#file.write(bytes, 0, bytes.length, this.#end)
        await this.#file.datasync()
      } catch (error) {
        throw new GatewayError('unavailable', `the spill file cannot be written: ${(error as Error).message}`)
      }
      this.#end += bytes.length
      this.#entries.push(...entries)
    })
  }

  /** Starts over, if there are still only the `replayed` entries in it; returns whether it did. */
  clear(replayed: number): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#entries.length !== replayed) return false
      await this.#startOver()
      return true
    })
  }

  async #startOver(): Promise<void> {
    this.#epoch = (this.#epoch + 1) >>> 0
    const header = Buffer.alloc(HEADER_BYTES)
    header.write(MAGIC, 'latin1')
    header.writeUInt32LE(this.#epoch, MAGIC.length)
    await this.#file.write(header, 0, HEADER_BYTES, 0)
    await this.#file.datasync()
    this.#end = HEADER_BYTES
    this.#entries = []
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

function encode(entry: RecordEntry, epoch: number): Buffer {
  const json = Buffer.from(JSON.stringify(entry))
  const header = Buffer.alloc(ENTRY_HEADER_BYTES)
  header.writeUInt32LE(json.length, 0)
  header.writeUInt32LE(epoch, 4)
  header.writeUInt32LE(crc32(json), 8)
  return Buffer.concat([header, json])
}

function readEntries(bytes: Buffer, epoch: number): { entries: RecordEntry[]; end: number } {
  const entries: RecordEntry[] = []
  let end = HEADER_BYTES
  while (end + ENTRY_HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(end)
    const json = bytes.subarray(end + ENTRY_HEADER_BYTES, end + ENTRY_HEADER_BYTES + length)
    const whole = length > 0 && json.length === length && bytes.readUInt32LE(end + 4) === epoch
    if (!whole || crc32(json) !== bytes.readUInt32LE(end + 8)) break
    entries.push(JSON.parse(json.toString()) as RecordEntry)
    end += ENTRY_HEADER_BYTES + length
  }
  return { entries, end }
}

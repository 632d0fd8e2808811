import { constants } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
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
export class SpillFile implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #size: number
  #epoch: number
  #end: number
  #entries: RecordEntry[]
  /** Appends and clears happen one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, size: number, epoch: number, end: number, entries: RecordEntry[]) {
    this.#file = file
    this.#size = size
    this.#epoch = epoch
    this.#end = end
    this.#entries = entries
  }

  /**
   * Opens or makes the file (0600). Entries of an earlier run wait in `entries`; a torn last entry was never promised and
   * is dropped. Throws `unavailable` with the remedy if it cannot be had, or is something else.
   */
  static async open(path: string, size = SPILL_BYTES): Promise<SpillFile> {
    await using opened = new AsyncDisposableStack()
    try {
      const file = opened.use(await open(path, constants.O_RDWR | constants.O_CREAT, 0o600))
      const bytes = Buffer.alloc(size)
      const bytesRead = await readAll(file, bytes)
      if (bytesRead < size) {
        await writeAll(file, bytes.subarray(bytesRead), bytesRead)
        await file.sync()
      }
      const { isOurs, epoch, entries, end } = parse(path, bytes)
      const spill = new SpillFile(file, size, epoch, end, entries)
      if (!isOurs) await spill.#startOver()
      opened.move()
      return spill
    } catch (error) {
      if (isGatewayError(error)) throw error
      const hint = `It takes ${size / 2 ** 20} MiB of disk, which must be there and writable before calls are served.`
      throw new GatewayError('unavailable', `the spill file cannot be opened: ${(error as Error).message}`, { hint })
    }
  }

  /** What has not been replayed yet, oldest first. */
  get entries(): readonly RecordEntry[] {
    return this.#entries
  }

  /** Resolves once the entries are on disk. Throws `unavailable` if they do not fit or cannot be written. */
  append(entries: RecordEntry[]): Promise<void> {
    return this.#inTurn(async () => {
      const bytes = Buffer.concat(entries.map((entry) => encode(entry, this.#epoch)))
      const room = this.#size - this.#end
      if (bytes.length > room) throw new GatewayError('unavailable', 'the spill file is full')
      try {
        // The end is written as well: behind it may lie what an append left that failed half-way.
        const withEnd = Buffer.concat([bytes, Buffer.alloc(ENTRY_HEADER_BYTES)]).subarray(0, room)
        await writeAll(this.#file, withEnd, this.#end)
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
    await writeAll(this.#file, header, 0)
    await this.#file.datasync()
    this.#end = HEADER_BYTES
    this.#entries = []
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last
    await this.#file.close()
  }
}

/** Reads from the beginning as much as there is and fits. */
async function readAll(file: FileHandle, bytes: Buffer): Promise<number> {
  for (let done = 0; ; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, done)
    if (bytesRead === 0) return done
    done += bytesRead
  }
}

/** A write may take less than it is given, for one when the disk is nearly full. */
async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
  }
}

/** What is in a spill file that nobody has open, oldest first; nothing where there is none. Throws `unavailable` if it is something else. */
export async function readSpilled(path: string): Promise<RecordEntry[]> {
  try {
    return parse(path, await readFile(path)).entries
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Throws `unavailable` if these are not the bytes of a spill file, whole or just made. */
function parse(path: string, bytes: Buffer): { isOurs: boolean; epoch: number; entries: RecordEntry[]; end: number } {
  if (bytes.toString('latin1', 0, MAGIC.length) === MAGIC) {
    const epoch = bytes.readUInt32LE(MAGIC.length)
    return { isOurs: true, epoch, ...readEntries(bytes, epoch) }
  }
  if (bytes.every((byte) => byte === 0)) return { isOurs: false, epoch: 0, entries: [], end: HEADER_BYTES }
  throw new GatewayError('unavailable', `${path} is damaged, or is no spill file`, {
    hint: 'It may hold charges that are not stored yet: keep a copy of it, then move it away.',
  })
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

import type { VendorWindow } from '../domain/account.ts'
import type { Clock, SetTimer } from '../lib/clock.ts'
import type { Logger } from '../lib/log.ts'
import { patternMatcher } from '../lib/pattern.ts'
import type { ResponseHead } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { ServingAccount } from './directory.ts'

/** Heads of one account that come closer together are not all read: the last of them has the news. */
const READ_EVERY_MS = 100
/** How old the stored windows may be; what a killed process has not stored is told again by the next answer. */
const STORE_EVERY_MS = 5000

interface Known {
  byName: Map<string, VendorWindow>
  /** The same as a list, until there is news. */
  sorted: readonly VendorWindow[] | null
  serving: ServingAccount
  /** The last head, if it has not been read. */
  unread: { head: ResponseHead; atMs: number } | null
  readMs: number
  isStored: boolean
}

/**
 * What vendors say of their windows, account by account. It costs an answer next to nothing: its head is kept, and read
 * now and then. Stored by the way, all accounts in one write, and announced to nobody: no process has to act on it.
 */
export class VendorWindows implements AsyncDisposable {
  readonly #store: Store
  readonly #clock: Clock
  readonly #setTimer: SetTimer
  readonly #log: Logger
  readonly #known = new Map<string, Known>()
  /** Set while there may be something to store. */
  #cancelTimer: (() => void) | null = null
  #storing: Promise<void> = Promise.resolve()

  constructor(options: { store: Store; clock: Clock; setTimer: SetTimer; log: Logger }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#setTimer = options.setTimer
    this.#log = options.log
  }

  /** An account's upstream has answered. */
  saw(serving: ServingAccount, head: ResponseHead): void {
    const known = this.#of(serving)
    const atMs = this.#clock()
    known.unread = { head, atMs }
    if (atMs - known.readMs >= READ_EVERY_MS) read(known)
    this.#cancelTimer ??= this.#setTimer(STORE_EVERY_MS, () => this.#storeSoon())
  }

  /** Its vendor tells of windows in another place than the heads of answers. */
  told(serving: ServingAccount, windows: readonly VendorWindow[]): void {
    if (windows.length === 0) return
    keep(this.#of(serving), windows)
    this.#cancelTimer ??= this.#setTimer(STORE_EVERY_MS, () => this.#storeSoon())
  }

  /** By name. */
  of(serving: ServingAccount): readonly VendorWindow[] {
    const known = this.#of(serving)
    read(known)
    return sorted(known)
  }

  /** The same for the hot path, a moment old perhaps: no head is read that would not be read anyway. */
  lately(serving: ServingAccount): readonly VendorWindow[] {
    const known = this.#of(serving)
    if (known.unread && this.#clock() - known.readMs >= READ_EVERY_MS) read(known)
    return sorted(known)
  }

  /** What is known of it; at first what was stored before a restart. */
  #of(serving: ServingAccount): Known {
    const { id, windows } = serving.account
    let known = this.#known.get(id)
    if (!known) {
      const byName = new Map(windows.map((window) => [window.name, window]))
      known = { byName, sorted: null, serving, unread: null, readMs: 0, isStored: true }
      this.#known.set(id, known)
    }
    return known
  }

  #storeSoon(): void {
    this.#cancelTimer = null
    this.#storing = this.#storing.then(() => this.#storeNow())
  }

  /** Never rejects. What the store does not take now is offered again with what comes next. */
  async #storeNow(): Promise<void> {
    const news = [...this.#known].filter(([, known]) => {
      read(known)
      return !known.isStored
    })
    if (news.length === 0) return
    for (const [, known] of news) known.isStored = true
    try {
      const samples = news.map(([id, known]) => ({ id, windows: [...sorted(known)] }))
      await this.#store.accounts.keepWindows({ samples })
    } catch (error) {
      for (const [, known] of news) known.isStored = false
      this.#log.debug({ reason: (error as Error).message }, "vendors' windows could not be stored")
    }
  }

  /** What is known is stored before the process ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelTimer?.()
    this.#storeSoon()
    await this.#storing
  }
}

/** Whether what a model uses counts against the window. Of a window of models that nobody names it is not known, and taken for no. */
export function countsFor({ models }: VendorWindow, model: string): boolean {
  return models === null || patternMatcher(models)(model)
}

/** A head tells of some windows; of the others what was told before stands. */
function read(known: Known): void {
  if (!known.unread) return
  const { head, atMs } = known.unread
  known.unread = null
  known.readMs = atMs
  keep(known, known.serving.provider.readWindows(head, atMs))
}

function keep(known: Known, windows: readonly VendorWindow[]): void {
  for (const window of windows) {
    known.byName.set(window.name, window)
    known.sorted = null
    known.isStored = false
  }
}

function sorted(known: Known): readonly VendorWindow[] {
  known.sorted ??= [...known.byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return known.sorted
}

import { type OutgoingRequest, UpstreamExchange } from '../../src/upstream/client.ts'
import type { VirtualTime } from './virtual-time.ts'

/** One of a vendor's windows: opens with the first call after its reset, and refuses calls once it is used up. */
export interface ModelWindow {
  /** `5h`, `7d`. */
  name: string
  lengthMs: number
  /** Units of work; see `ModelAccount.cost`. */
  capacity: number
  used: number
  /** Unix ms. */
  resetAtMs: number
}

/** What an upstream says instead of a good answer. */
export interface ModelError {
  kind: 'error'
  status: number
  /** Anthropic's word. */
  type: string
  message?: string
  headers?: Record<string, string>
}

export type ModelFault = ModelError | { kind: 'unreachable' }

/** How the upstream serves one account. */
export interface ModelAccount {
  /** From request to head; 0 = at once. */
  headMs: () => number
  /** From the head to the end of the answer. */
  serviceMs: () => number
  /** Units of work that an answer takes from each window. */
  cost: () => number
  windows: ModelWindow[]
  /** What goes wrong with a call that comes now; null = nothing. */
  fault: (nowMs: number) => ModelFault | null
}

/** How far a window was used when it was over. */
export interface WindowEnd {
  accountId: string
  name: string
  resetAtMs: number
  used: number
}

const PREFIX = 'anthropic-ratelimit-unified-'
const CONTENT = Buffer.from('event: content\ndata: {}\n\n')

/**
 * All upstreams of a simulation, in the place of the gateway's HTTP client: real exchanges, with made-up heads and bodies.
 * It knows an account by the last part of its base URL, which is the account's id.
 */
export class ModelUpstream {
  readonly #time: VirtualTime
  readonly #accounts = new Map<string, ModelAccount>()
  readonly #running = new Map<string, number>()
  readonly windowEnds: WindowEnd[] = []

  constructor(time: VirtualTime) {
    this.#time = time
  }

  add(accountId: string, account: ModelAccount): void {
    this.#accounts.set(accountId, account)
  }

  account(accountId: string): ModelAccount {
    const account = this.#accounts.get(accountId)
    if (!account) throw new Error(`the model knows no account ${accountId}`)
    return account
  }

  /** Calls that run now. */
  get running(): number {
    return this.#running.values().reduce((sum, count) => sum + count, 0)
  }

  /** Calls that run now at this account. */
  runningAt(accountId: string): number {
    return this.#running.get(accountId) ?? 0
  }

  /** As UpstreamClient has it. */
  send({ baseUrl }: OutgoingRequest): UpstreamExchange {
    const id = baseUrl.slice(baseUrl.lastIndexOf('/') + 1)
    const exchange = new UpstreamExchange(() => {})
    const run = new ModelCall(this.#time, this.account(id), exchange, {
      windows: () => this.#windowsNow(id),
      ended: () => this.#count(id, -1),
    })
    this.#count(id, 1)
    run.start()
    return exchange
  }

  #count(id: string, change: 1 | -1): void {
    this.#running.set(id, this.runningAt(id) + change)
  }

  /** Windows that are over begin anew with the call that asks. */
  #windowsNow(id: string): ModelWindow[] {
    const { windows } = this.account(id)
    const nowMs = this.#time.clock()
    for (const window of windows) {
      if (nowMs < window.resetAtMs) continue
      const { name, resetAtMs, used, capacity } = window
      this.windowEnds.push({ accountId: id, name, resetAtMs, used: used / capacity })
      window.used = 0
      window.resetAtMs = nowMs + window.lengthMs
    }
    return windows
  }
}

/** One request and its answer, as the upstream plays it. */
class ModelCall {
  readonly #time: VirtualTime
  readonly #account: ModelAccount
  readonly #exchange: UpstreamExchange
  readonly #windows: () => ModelWindow[]
  readonly #ended: () => void
  #cancelTimer = () => {}
  #isOver = false
  readonly #controller = {
    abort: () => this.#end(),
    pause() {},
    resume() {},
  } as unknown as Parameters<UpstreamExchange['onRequestStart']>[0]

  constructor(
    time: VirtualTime,
    account: ModelAccount,
    exchange: UpstreamExchange,
    { windows, ended }: { windows: () => ModelWindow[]; ended: () => void },
  ) {
    this.#time = time
    this.#account = account
    this.#exchange = exchange
    this.#windows = windows
    this.#ended = ended
  }

  start(): void {
    const headMs = this.#account.headMs()
    if (headMs === 0) this.#answer()
    else this.#cancelTimer = this.#time.setTimer(headMs, () => this.#answer())
  }

  #answer(): void {
    const failure = this.#account.fault(this.#time.clock())
    if (failure?.kind === 'unreachable') {
      this.#end()
      this.#exchange.onResponseError(null, new Error('connect ECONNREFUSED'))
      return
    }
    this.#exchange.onRequestStart(this.#controller)
    const windows = this.#windows()
    const refusal = failure ?? refusalBy(windows)
    if (refusal) this.#refuse(refusal)
    else this.#serve(windows)
  }

  #serve(windows: readonly ModelWindow[]): void {
    const { cost, serviceMs } = this.#account
    const units = cost()
    for (const window of windows) window.used += units
    this.#exchange.onResponseStart(this.#controller, 200, {
      'content-type': 'text/event-stream',
      ...headOf(windows),
    })
    this.#exchange.onResponseData(this.#controller, CONTENT)
    this.#cancelTimer = this.#time.setTimer(serviceMs(), () => {
      this.#end()
      this.#exchange.onResponseEnd()
    })
  }

  #refuse({ status, type, message = type, headers = {} }: ModelError): void {
    this.#end()
    this.#exchange.onResponseStart(this.#controller, status, { 'content-type': 'application/json', ...headers })
    const body = JSON.stringify({ type: 'error', error: { type, message } })
    this.#exchange.onResponseData(this.#controller, Buffer.from(body))
    this.#exchange.onResponseEnd()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelTimer()
    this.#ended()
  }
}

function isFull({ used, capacity }: ModelWindow): boolean {
  return used >= capacity
}

/** What the vendor says once a window is used up; null = none is. */
function refusalBy(windows: readonly ModelWindow[]): ModelError | null {
  if (!windows.some(isFull)) return null
  const message = "This request would exceed your account's rate limit."
  return { kind: 'error', status: 429, type: 'rate_limit_error', message, headers: headOf(windows) }
}

/** What Anthropic tells subscriptions of their windows: fractions, and resets in unix seconds. */
function headOf(windows: readonly ModelWindow[]): Record<string, string> {
  const head: Record<string, string> = {}
  if (windows.length === 0) return head
  let status = 'allowed'
  for (const window of windows) {
    const { name, used, capacity, resetAtMs } = window
    if (isFull(window)) status = 'rejected'
    head[`${PREFIX}${name}-status`] = isFull(window) ? 'rejected' : 'allowed'
    head[`${PREFIX}${name}-utilization`] = String(Math.min(1, Math.round((used / capacity) * 10_000) / 10_000))
    head[`${PREFIX}${name}-reset`] = String(Math.ceil(resetAtMs / 1000))
  }
  head[`${PREFIX}status`] = status
  return head
}

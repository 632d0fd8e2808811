import type { AdmitRequest, RankedCandidate } from '../../src/live/live-state.ts'

/** A call of the model: it waits, runs, or both while it moves. */
interface ModelCall {
  request: AdmitRequest
  process: string
  /** As it was raised. */
  reservedNanoUsd: number
  /** Its place among those that were ever admitted. */
  started: number
  number: number
  /** Tickets that had been served when it came. */
  turn: number
  candidates: RankedCandidate[]
  stickyUntilMs: number
  passes: number
  runs: boolean
  waits: boolean
  accountId: string
  bound: boolean
  heldUpBy: Need | null
}

interface Need {
  kind: 'user' | 'key' | 'account'
  id: string
  limit: number | null
}

/** How a wait ended: the account, or whose limit or money it was. */
export type Outcome = string

/**
 * Live state as slow and plain as can be: everything is worked out from the list of calls, and after every step all who
 * wait are looked at until nobody fits.
 */
export class LiveStateModel {
  nowMs: number
  readonly outcomes = new Map<string, Outcome>()
  readonly bindings = new Map<string, string>()
  readonly balances = new Map<string, number>()
  /** Users whose balance has to be learnt anew. */
  readonly unknown = new Set<string>()
  #lost: ModelCall[] = []
  #started = 0
  #calls: ModelCall[] = []
  #arrivals = 0
  #served = 0
  /** `user account` → the turn at which a ticket of it was served there last. */
  readonly #turns = new Map<string, number>()

  constructor(nowMs: number) {
    this.nowMs = nowMs
  }

  get running(): Record<string, string> {
    return Object.fromEntries(this.#runningCalls().map(({ request, accountId }) => [request.callId, accountId]))
  }

  get tickets(): { callId: string; accountIds: string[]; passes: number }[] {
    return this.#waitingCalls().map((call) => ({
      callId: call.request.callId,
      accountIds: this.#accounts(call).map(({ accountId }) => accountId),
      passes: call.passes,
    }))
  }

  admit(request: AdmitRequest, process: string): Outcome {
    if (this.#isSpent(request)) return 'spent'
    const call: ModelCall = {
      request,
      process,
      reservedNanoUsd: request.reservedNanoUsd,
      started: 0,
      number: ++this.#arrivals,
      turn: this.#served,
      candidates: request.candidates,
      stickyUntilMs: request.session ? Math.min(this.nowMs + request.session.waitMs, request.deadlineMs - 1) : 0,
      passes: 0,
      runs: false,
      waits: false,
      accountId: '',
      bound: false,
      heldUpBy: null,
    }
    this.#calls.push(call)
    return this.#enter(call)
  }

  move(callId: string, candidates: RankedCandidate[]): Outcome {
    const call = this.#find(callId)
    Object.assign(call, { candidates, stickyUntilMs: 0, passes: 0, accountId: '', bound: false })
    return this.#enter(call)
  }

  raise(callId: string, nanoUsd: number): void {
    const call = this.#find(callId)
    call.reservedNanoUsd = Math.max(call.reservedNanoUsd, nanoUsd)
  }

  /** The process dies: its calls hold nothing any more, and nobody waits for it. */
  giveUp(process: string): void {
    for (const call of this.#waitingCalls().filter((one) => one.process === process)) {
      this.#endWait(call, 'gone')
      this.#serveLine()
    }
    const calls = this.#runningCalls().filter((one) => one.process === process)
    for (const call of calls.sort((a, b) => a.started - b.started)) {
      this.#calls = this.#calls.filter((other) => other !== call)
      this.#lost.push(call)
      this.unknown.add(call.request.userId)
      this.#serveLine()
    }
  }

  settle(callId: string, confirmsBinding: boolean, debitNanoUsd: number): void {
    const lost = this.#lost.find(({ request }) => request.callId === callId)
    const call = lost ?? this.#find(callId)
    const { session, userId } = call.request
    this.#calls = this.#calls.filter((other) => other !== call)
    this.#lost = this.#lost.filter((other) => other !== call)
    if (call.waits) this.outcomes.set(callId, 'ended')
    const balance = this.balances.get(userId)
    if (balance !== undefined) this.balances.set(userId, balance - debitNanoUsd)
    if (session && confirmsBinding && call.bound) this.bindings.set(session.key, call.accountId)
    this.#serveLine()
  }

  abort(callId: string): void {
    this.#endWait(this.#find(callId), 'aborted')
    this.#serveLine()
  }

  unbind(sessionKey: string): void {
    this.bindings.delete(sessionKey)
    for (const call of [...this.#calls, ...this.#lost]) if (call.request.session?.key === sessionKey) call.bound = false
    this.#serveLine()
  }

  rerank(callId: string, candidates: RankedCandidate[]): void {
    const call = this.#find(callId)
    call.candidates = candidates
    const [best] = able(candidates)
    const at = call.heldUpBy
    if (
      at?.kind === 'account' &&
      best &&
      ![...able(candidates), ...keptFor(candidates)].some(({ accountId }) => accountId === at.id)
    ) {
      call.heldUpBy = accountNeed(best)
    }
    const forbidding = this.#needs(call).find(({ limit }) => limit === 0)
    if (!best || forbidding) this.#endWait(call, `forbidden ${forbidding?.kind ?? 'account'}`)
    this.#serveLine()
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    while (this.nowMs <= untilMs) {
      for (const call of this.#waitingCalls()) {
        if (call.request.deadlineMs > this.nowMs) continue
        this.#endWait(call, `waited ${this.#bottlenecks(call)[0]?.kind}`)
        this.#serveLine()
      }
      this.#serveLine()
      const times = this.#waitingCalls().flatMap(({ stickyUntilMs, request, candidates }) => [
        ...[stickyUntilMs, request.deadlineMs],
        ...candidates.map(({ onlyOwnFromMs }) => onlyOwnFromMs ?? 0),
      ])
      this.nowMs = Math.min(...times.filter((atMs) => atMs > this.nowMs), untilMs + 1)
    }
    this.nowMs = untilMs
  }

  /** How many slots are in use. */
  inUse(kind: Need['kind'], id: string): number {
    return this.#runningCalls().filter(({ request, accountId }) => {
      return { user: request.userId, key: request.keyId, account: accountId }[kind] === id
    }).length
  }

  #runningCalls(): ModelCall[] {
    return this.#calls.filter(({ runs }) => runs)
  }

  #waitingCalls(): ModelCall[] {
    return this.#calls.filter(({ waits }) => waits).sort((a, b) => a.number - b.number)
  }

  #find(callId: string): ModelCall {
    const call = this.#calls.find(({ request }) => request.callId === callId)
    if (!call) throw new Error(`the model has no ${callId}`)
    return call
  }

  #isSpent({ userId, needsBalance }: AdmitRequest): boolean {
    const calls = this.#runningCalls().filter(({ request }) => request.userId === userId)
    const reserved = calls.reduce((sum, { reservedNanoUsd }) => sum + reservedNanoUsd, 0)
    return needsBalance && !this.unknown.has(userId) && (this.balances.get(userId) ?? 0) - reserved <= 0
  }

  // ---- who fits ----

  #needs({ request, runs }: ModelCall): Need[] {
    if (runs) return []
    return [
      { kind: 'key', id: request.keyId, limit: request.keyConcurrency },
      { kind: 'user', id: request.userId, limit: request.userConcurrency },
    ]
  }

  #isFree({ kind, id, limit }: Need, kept: Need[]): boolean {
    const keptOfIt = kept.filter((need) => need.kind === kind && need.id === id)
    return limit === null || this.inUse(kind, id) + keptOfIt.length < limit
  }

  #ownAccount({ request, candidates }: ModelCall): RankedCandidate | undefined {
    const own = request.session && this.bindings.get(request.session.key)
    return [...able(candidates), ...keptFor(candidates)].find(({ accountId }) => accountId === own)
  }

  #accounts(call: ModelCall): RankedCandidate[] {
    const own = this.#ownAccount(call)
    if (!own) return able(call.candidates)
    if (call.stickyUntilMs > this.nowMs) return [own]
    const others = able(call.candidates).filter((candidate) => candidate !== own)
    return this.#rests(own) ? others : [own, ...others]
  }

  /** What is kept for the user's older tickets that were passed eight times: first the key's slot, then the user's. */
  #keptBefore(call: ModelCall): Need[] {
    const kept: Need[] = []
    for (const older of this.#waitingCalls()) {
      if (older.request.userId !== call.request.userId || older.number >= call.number || older.passes < 8) continue
      for (const need of this.#needs(older)) {
        if (!this.#isFree(need, kept)) break
        kept.push(need)
      }
    }
    return kept
  }

  #accountFor(call: ModelCall): RankedCandidate | undefined {
    const kept = this.#keptBefore(call)
    if (!this.#needs(call).every((need) => this.#isFree(need, kept))) return undefined
    return this.#accounts(call).find((candidate) => !this.#rests(candidate) && this.#isFree(accountNeed(candidate), []))
  }

  #bottlenecks(call: ModelCall): Need[] {
    const kept = this.#keptBefore(call)
    const own = this.#needs(call).find((need) => !this.#isFree(need, kept))
    return own ? [own] : this.#accounts(call).map(accountNeed)
  }

  #rests({ onlyOwnFromMs }: RankedCandidate): boolean {
    return onlyOwnFromMs !== undefined && onlyOwnFromMs > this.nowMs
  }

  // ---- what happens ----

  #enter(call: ModelCall): Outcome {
    const outcome = this.#admitOrQueue(call)
    if (!call.runs && !call.waits) this.#calls = this.#calls.filter((other) => other !== call)
    this.#serveLine()
    return outcome
  }

  #admitOrQueue(call: ModelCall): Outcome {
    const [forbidding] = this.#needs(call).filter(({ limit }) => limit === 0)
    if (forbidding) return `forbidden ${forbidding.kind}`
    if (able(call.candidates).length === 0) return 'forbidden account'
    const account = this.#accountFor(call)
    if (account) return this.#run(call, account.accountId)
    const { session, lineExtra } = call.request
    const bottlenecks = this.#bottlenecks(call)
    const isSticky = call.stickyUntilMs > this.nowMs && this.#ownAccount(call) && bottlenecks[0]?.kind === 'account'
    const withRoom = bottlenecks.find(({ kind, id, limit }) => {
      const inLine = this.#waitingCalls().filter(({ heldUpBy }) => heldUpBy?.kind === kind && heldUpBy.id === id)
      return inLine.length < (isSticky && session ? session.line : (limit ?? 0) + lineExtra)
    })
    if (withRoom) {
      call.heldUpBy = withRoom
      call.waits = true
      return 'waits'
    }
    if (!isSticky) return `line_full ${bottlenecks[0]?.kind}`
    call.stickyUntilMs = 0
    return this.#admitOrQueue(call)
  }

  #run(call: ModelCall, accountId: string): Outcome {
    const own = this.#ownAccount(call)
    const { session, userId } = call.request
    if (!call.runs) {
      const older = this.#waitingCalls().filter(
        ({ request, number }) => request.userId === userId && number < call.number,
      )
      for (const passed of older) passed.passes++
      call.started = ++this.#started
    }
    call.runs = true
    call.waits = false
    call.accountId = accountId
    call.bound = session !== null && (!own || own.accountId === accountId)
    if (session && call.bound) this.bindings.set(session.key, accountId)
    return accountId
  }

  #endWait(call: ModelCall, outcome: Outcome): void {
    call.waits = false
    this.outcomes.set(call.request.callId, outcome)
    if (!call.runs) this.#calls = this.#calls.filter((other) => other !== call)
    this.#forgetTurns(call.request.userId)
  }

  #forgetTurns(userId: string): void {
    if (this.#waitingCalls().some(({ request }) => request.userId === userId)) return
    for (const name of this.#turns.keys()) if (name.startsWith(`${userId} `)) this.#turns.delete(name)
  }

  /** Of each user the oldest ticket that fits; of those the one whose turn it is; until nobody fits. */
  #serveLine(): void {
    for (;;) {
      const fitting = this.#waitingCalls().flatMap((call) => {
        const account = this.#accountFor(call)
        const served = this.#turns.get(`${call.request.userId} ${account?.accountId}`) ?? 0
        return account ? [{ call, account, turn: Math.max(call.turn, served) }] : []
      })
      const oldest = fitting.filter(
        ({ call }, index) => fitting.findIndex((other) => other.call.request.userId === call.request.userId) === index,
      )
      const [next] = oldest.sort((a, b) => a.turn - b.turn || a.call.number - b.call.number)
      if (!next) return
      const { call, account } = next
      if (!call.runs && this.#isSpent(call.request)) {
        this.#endWait(call, 'spent')
        continue
      }
      this.#turns.set(`${call.request.userId} ${account.accountId}`, ++this.#served)
      this.outcomes.set(call.request.callId, this.#run(call, account.accountId))
      this.#forgetTurns(call.request.userId)
    }
  }
}

function able(candidates: RankedCandidate[]): RankedCandidate[] {
  return candidates.filter(({ concurrency, onlyOwnFromMs }) => concurrency !== 0 && onlyOwnFromMs === undefined)
}

/** Those that are of use only to a call whose session is bound to them. */
function keptFor(candidates: RankedCandidate[]): RankedCandidate[] {
  return candidates.filter(({ concurrency, onlyOwnFromMs }) => concurrency !== 0 && onlyOwnFromMs !== undefined)
}

function accountNeed({ accountId, concurrency }: RankedCandidate): Need {
  return { kind: 'account', id: accountId, limit: concurrency }
}

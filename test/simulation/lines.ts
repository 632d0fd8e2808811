import type { Refusal } from '../../src/domain/limit.ts'
import type { Admission, AdmitRequest, RankedCandidate } from '../../src/live/live-state.ts'
import type { Homes } from './homes.ts'
import { type Finding, none } from './scenario.ts'
import type { LiveWatcher } from './watched-live.ts'
import type { World } from './world.ts'

/** So often a ticket may be passed by later calls of its own user; then slots are kept for it. */
const PASSES_MAX = 8

interface KnownCall {
  readonly request: AdmitRequest
  /** In order of arrival. */
  readonly number: number
  readonly sinceMs: number
  state: 'asks' | 'waits' | 'runs'
  waitsSinceMs: number
  /** Empty while it has none. */
  accountId: string
  candidates: readonly RankedCandidate[]
  /** When it was told of other accounts. */
  rerankedMs: number
  /** It has its caller's slots already, and waits for another account. */
  isMoving: boolean
  passes: number
  /** Other users who were served where it waits, and how often since its own user was, by `account user`. */
  overtakers: Map<string, number>
}

/**
 * The line as its rules are told, found out by counting: who runs, who waits and what for. Each step of live state is
 * held against all calls there are.
 */
export class Lines implements LiveWatcher {
  readonly #world: World
  readonly #homes: Homes
  readonly #calls = new Map<string, KnownCall>()
  #arrivals = 0
  #waited = 0
  #longestMs = 0
  #passesMost = 0
  #idle = 0
  readonly #problems: Record<Rule, string[]> = { limit: [], order: [], due: [], turn: [], idle: [], deadline: [] }

  constructor(world: World, homes: Homes) {
    this.#world = world
    this.#homes = homes
  }

  /** The longest that a call waited that was served, in ms. */
  get longestMs(): number {
    return this.#longestMs
  }

  asked(request: AdmitRequest): void {
    this.#calls.set(request.callId, {
      ...{ request, number: ++this.#arrivals, sinceMs: this.#world.time.clock(), state: 'asks', accountId: '' },
      ...{
        candidates: request.candidates,
        rerankedMs: 0,
        waitsSinceMs: 0,
        isMoving: false,
        passes: 0,
        overtakers: new Map(),
      },
    })
  }

  served(callId: string, { accountId }: Admission): void {
    const call = this.#calls.get(callId)
    if (!call) return
    this.#judgeLimits(call, accountId)
    // What happens in one moment has no order that could be told from outside.
    const others = [...this.#calls.values()].filter(
      (other) => other !== call && other.state === 'waits' && other.waitsSinceMs < this.#world.time.clock(),
    )
    const { userId } = call.request
    for (const other of others) {
      if (other.request.userId === userId) this.#judgeOwn(call, other, accountId)
      else this.#judgeOthers(call, other, accountId)
    }
    if (call.state === 'waits') {
      this.#waited++
      this.#longestMs = Math.max(this.#longestMs, this.#world.time.clock() - call.sinceMs)
    }
    for (const other of others) {
      if (other.request.userId !== userId) continue
      for (const overtaker of other.overtakers.keys()) {
        if (overtaker.startsWith(`${accountId} `)) other.overtakers.delete(overtaker)
      }
      if (call.number > other.number && !call.isMoving) {
        other.passes++
        this.#passesMost = Math.max(this.#passesMost, other.passes)
      }
    }
    call.state = 'runs'
    call.accountId = accountId
    call.isMoving = false
  }

  queued(callId: string): void {
    const call = this.#calls.get(callId)
    if (!call) return
    this.#judgeIdle(call, 'has to wait')
    call.state = 'waits'
    call.waitsSinceMs = this.#world.time.clock()
    call.overtakers.clear()
  }

  refused(callId: string, refusal: Refusal): void {
    const call = this.#calls.get(callId)
    if (!call) return
    if (refusal.reason === 'waited') {
      const seconds = (this.#world.time.clock() - call.sinceMs) / 1000
      this.#problems.deadline.push(`${callId} waited ${seconds} s in vain, passed ${call.passes} times`)
    } else this.#judgeIdle(call, 'is refused')
    if (!call.isMoving) this.#calls.delete(callId)
  }

  gaveUp(callId: string): void {
    const call = this.#calls.get(callId)
    if (call && !call.isMoving) this.#calls.delete(callId)
  }

  moves(callId: string, candidates: readonly RankedCandidate[]): void {
    const call = this.#calls.get(callId)
    if (!call) return
    Object.assign(call, { state: 'asks', accountId: '', candidates, isMoving: true })
  }

  reranked(callId: string, candidates: readonly RankedCandidate[]): void {
    const call = this.#calls.get(callId)
    if (call) Object.assign(call, { candidates, rerankedMs: this.#world.time.clock() })
  }

  settles(callId: string): void {
    this.#calls.delete(callId)
  }

  /** That no ticket waits in vain can be claimed only where there is room for all. */
  findings({ hasRoomForAll }: { hasRoomForAll: boolean }): Finding[] {
    const { limit, order, due, turn, idle, deadline } = this.#problems
    const served = `${this.#arrivals} calls, ${this.#waited} from the line`
    return [
      none('no slot is given twice', limit, served),
      none('no newer call of a user takes the account that an older one could have had', order, served),
      none(
        `a slot of the user is left for each ticket that was passed ${PASSES_MAX} times`,
        due,
        `${served}, passed ${this.#passesMost} times at most`,
      ),
      none('no user is served twice at an account while another could have had it', turn, served),
      none(
        'no call waits or is refused that could have been served',
        idle,
        `${this.#idle} that lacked an account only`,
      ),
      ...(hasRoomForAll
        ? [none('no ticket waits in vain', deadline, `${served}, after ${this.#longestMs / 1000} s at most`)]
        : []),
    ]
  }

  #judgeLimits({ request, candidates, isMoving }: KnownCall, accountId: string): void {
    const { callId, userId, keyId, userConcurrency, keyConcurrency } = request
    const isOver = (running: number, limit: number | null | undefined) => limit != null && running >= limit
    const account = candidates.find((candidate) => candidate.accountId === accountId)
    const over =
      (!isMoving && isOver(this.#runningOf('userId', userId), userConcurrency) && 'its user') ||
      (!isMoving && isOver(this.#runningOf('keyId', keyId), keyConcurrency) && 'its key') ||
      (isOver(this.#runningAt(accountId), account?.concurrency) && accountId)
    if (over) this.#problems.limit.push(`${callId} is one too many for ${over}`)
  }

  /** `other` waits, of the same user. */
  #judgeOwn(call: KnownCall, other: KnownCall, accountId: string): void {
    const { callId, userId, userConcurrency } = call.request
    if (other.number > call.number) return
    if (this.#couldHave(other, accountId) && !this.#hasJustComeBack(accountId, other)) {
      this.#problems.order.push(`${callId} took ${accountId} before ${other.request.callId}, which came first`)
    }
    if (call.isMoving || userConcurrency === null) return
    const due = this.#waitingOf(userId).filter(
      ({ number, passes, isMoving, request }) =>
        number < call.number && passes >= PASSES_MAX && !isMoving && request.keyConcurrency === null,
    )
    if (due.length > 0 && this.#runningOf('userId', userId) + due.length >= userConcurrency) {
      this.#problems.due.push(`${callId} took the slot that ${due[0]?.request.callId} was due`)
    }
  }

  /** `other` waits, of another user. */
  #judgeOthers(call: KnownCall, other: KnownCall, accountId: string): void {
    // A call that moves comes with the place that it had, and an account that comes back serves those first who hear of it first.
    const isOutOfTurn = call.isMoving || this.#hasJustComeBack(accountId, other)
    if (isOutOfTurn || !this.#couldHave(other, accountId)) return
    const { callId, userId } = call.request
    const overtaker = `${accountId} ${userId}`
    const times = (other.overtakers.get(overtaker) ?? 0) + 1
    other.overtakers.set(overtaker, times)
    if (call.state === 'waits' ? times > 1 : true) {
      this.#problems.turn.push(`${callId} took ${accountId}, ${times}. time before ${other.request.callId}`)
    }
  }

  #hasJustComeBack(accountId: string, { rerankedMs }: KnownCall): boolean {
    const nowMs = this.#world.time.clock()
    const { rest = null } = this.#world.gateway.directory.account(accountId)?.account ?? {}
    return rerankedMs === nowMs || (rest !== null && Math.abs(rest.untilMs - nowMs) <= 1)
  }

  /** A newcomer that is not served at once. */
  #judgeIdle(call: KnownCall, how: string): void {
    if (call.isMoving || call.state !== 'asks' || this.#waitingOf(call.request.userId).length > 0) return
    if (!this.#hasCallerSlots(call)) return
    const free = this.#wants(call).filter((id) => this.#isFree(call, id))
    this.#idle++
    if (free.length > 0) this.#problems.idle.push(`${call.request.callId} ${how}, and ${free[0]} is free`)
  }

  /** Whether it waits for this account, and misses nothing else. To be sure, all older ones of its user are taken to keep slots. */
  #couldHave(call: KnownCall, accountId: string): boolean {
    return this.#wants(call).includes(accountId) && (call.isMoving || this.#hasCallerSlots(call))
  }

  #hasCallerSlots(call: KnownCall): boolean {
    const { userId, keyId, userConcurrency, keyConcurrency } = call.request
    const older = this.#waitingOf(userId).filter(({ number, isMoving }) => number < call.number && !isMoving)
    const ofKey = older.filter(({ request }) => request.keyId === keyId)
    return (
      (userConcurrency === null || this.#runningOf('userId', userId) + older.length < userConcurrency) &&
      (keyConcurrency === null || this.#runningOf('keyId', keyId) + ofKey.length < keyConcurrency)
    )
  }

  /** The accounts that would do: its conversation's own for some time, then any. */
  #wants({ request, candidates, sinceMs, isMoving }: KnownCall): string[] {
    const { session } = request
    const home = session && !isMoving ? this.#homes.of(session.key) : null
    const own = candidates.find(({ accountId }) => accountId === home)
    const forAll = candidates.filter(({ onlyOwnFromMs }) => onlyOwnFromMs === undefined)
    // It is told a little after that time is over.
    const isSticky = session !== null && this.#world.time.clock() <= sinceMs + session.waitMs + 1
    return (own && isSticky ? [own] : forAll).map(({ accountId }) => accountId)
  }

  #isFree({ candidates }: KnownCall, accountId: string): boolean {
    const { concurrency = null, onlyOwnFromMs = 0 } = candidates.find((one) => one.accountId === accountId) ?? {}
    const rests = onlyOwnFromMs > this.#world.time.clock()
    return !rests && (concurrency === null || this.#runningAt(accountId) < concurrency)
  }

  #runningAt(accountId: string): number {
    return this.#count((call) => call.accountId === accountId)
  }

  /** Calls that hold a slot of the user or the key: also those that are on their way to another account. */
  #runningOf(who: 'userId' | 'keyId', id: string): number {
    return this.#count((call) => call.request[who] === id && (call.state === 'runs' || call.isMoving))
  }

  #waitingOf(userId: string): KnownCall[] {
    return [...this.#calls.values()].filter((call) => call.request.userId === userId && call.state === 'waits')
  }

  #count(isMeant: (call: KnownCall) => boolean): number {
    let count = 0
    for (const call of this.#calls.values()) if (isMeant(call)) count++
    return count
  }
}

type Rule = 'limit' | 'order' | 'due' | 'turn' | 'idle' | 'deadline'

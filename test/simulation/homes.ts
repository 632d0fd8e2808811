import type { CallRecord } from '../../src/domain/call.ts'
import type { Admission, AdmitRequest, RankedCandidate } from '../../src/live/live-state.ts'
import { type Finding, none, percent } from './scenario.ts'
import type { LiveWatcher } from './watched-live.ts'
import type { World } from './world.ts'

interface Home {
  accountId: string
  untilMs: number
}

/** How one call of a conversation was placed, the first time and each time it moved. */
interface Placing {
  /** The conversation's account before; null = it had none. */
  home: string | null
  homeWasCandidate: boolean
  accountId: string
  /** Its home stays where it is. */
  isDetour: boolean
  atMs: number
  /** No other call of its conversation was placed in the same moment: of two, nobody outside can tell which was first. */
  isAlone: boolean
}

interface KnownCall {
  request: AdmitRequest
  /** What live state was told last. */
  candidates: readonly RankedCandidate[]
  placings: Placing[]
}

/**
 * Where conversations are at home, by the rules as they are told to operators: a conversation's first call gives it a
 * home; each later one goes there and keeps it for another hour, unless that account is no candidate (then its new account
 * is the home) or the call is a detour (then the home stays).
 */
export class Homes implements LiveWatcher {
  readonly #world: World
  readonly #homes = new Map<string, Home>()
  readonly #calls = new Map<string, KnownCall>()
  /** By conversation. */
  readonly #lastPlacings = new Map<string, Placing>()
  readonly #problems: string[] = []
  readonly #counts = { kept: 0, new: 0, moved: 0, detour: 0 }

  constructor(world: World) {
    this.#world = world
  }

  /** The conversation's account; null = none, or it was silent for too long. */
  of(sessionKey: string): string | null {
    const home = this.#homes.get(sessionKey)
    return home && home.untilMs > this.#world.time.clock() ? home.accountId : null
  }

  asked(request: AdmitRequest): void {
    const { callId, candidates, session } = request
    if (session) this.#calls.set(callId, { request, candidates, placings: [] })
  }

  reranked(callId: string, candidates: readonly RankedCandidate[]): void {
    const call = this.#calls.get(callId)
    if (call) call.candidates = candidates
  }

  moves(callId: string, candidates: readonly RankedCandidate[]): void {
    this.reranked(callId, candidates)
  }

  served(callId: string, { accountId, bound }: Admission): void {
    const call = this.#calls.get(callId)
    if (!call) return
    const { key, ttlMs } = call.request.session as NonNullable<AdmitRequest['session']>
    const home = this.of(key)
    const atMs = this.#world.time.clock()
    const homeWasCandidate = home !== null && this.#isCandidate(home, call)
    const last = this.#lastPlacings.get(key)
    const isAlone = last?.atMs !== atMs
    if (last && !isAlone) last.isAlone = false
    const isDetour = isAlone ? homeWasCandidate && accountId !== home : !bound
    const placing: Placing = { home, homeWasCandidate, accountId, isDetour, atMs, isAlone }
    this.#lastPlacings.set(key, placing)
    call.placings.push(placing)
    if (!isDetour) this.#homes.set(key, { accountId, untilMs: atMs + ttlMs })
  }

  /** To wait for the home is to use it. */
  queued(callId: string): void {
    const call = this.#calls.get(callId)
    if (!call) return
    const { key, ttlMs } = call.request.session as NonNullable<AdmitRequest['session']>
    const home = this.of(key)
    if (home === null || !call.candidates.some(({ accountId }) => accountId === home)) return
    this.#homes.set(key, { accountId: home, untilMs: this.#world.time.clock() + ttlMs })
  }

  settles(callId: string, confirmsBinding: boolean): void {
    const call = this.#calls.get(callId)
    const last = call?.placings.at(-1)
    if (!call || !last || !confirmsBinding) return
    const { key, ttlMs } = call.request.session as NonNullable<AdmitRequest['session']>
    const home = this.of(key)
    if (last.isDetour || (home !== null && home !== last.accountId)) return
    this.#homes.set(key, { accountId: last.accountId, untilMs: this.#world.time.clock() + ttlMs })
  }

  /** The call is over; its record says what the operator is told of it. */
  judge(callId: string, record: CallRecord | null): void {
    const call = this.#calls.get(callId)
    this.#calls.delete(callId)
    const first = call?.placings[0]
    if (!first?.isAlone || !record) return
    const { home, homeWasCandidate, accountId } = first
    const said = record.choice?.session?.binding
    const where = `${callId} went to ${accountId} from ${home}, and is recorded as '${said}'`
    if (accountId === home) {
      this.#counts.kept++
      if (said !== 'kept') this.#problems.push(`${where}: it was kept`)
    } else if (homeWasCandidate) {
      this.#counts.detour++
      if (said !== 'detour') this.#problems.push(`${where}: its binding was lost`)
    } else {
      const now = home === null ? 'new' : 'moved'
      this.#counts[now]++
      if (said !== now) this.#problems.push(`${where}: it is ${now}`)
    }
  }

  findings(): Finding[] {
    const { kept, new: begun, moved, detour } = this.#counts
    const all = kept + begun + moved + detour
    const counts = `${all} calls of conversations (${kept} kept, ${begun} begun, ${moved} moved as their account was out of service, ${detour} detours: ${percent(detour / all)})`
    return [
      none('no binding is lost while its account is a candidate, but for recorded detours', this.#problems, counts),
    ]
  }

  /**
   * In service, not resting hard, its host there: looked at, not asked for. Only of one that has just failed this very call,
   * or that rests and perhaps so shortly that it is waited out, it counts whether live state was told of it.
   */
  #isCandidate(accountId: string, { candidates, placings }: KnownCall): boolean {
    const { directory, breakers } = this.#world.gateway
    const serving = directory.account(accountId)
    if (serving?.account.status !== 'active' || breakers.isOpen(serving.host)) return false
    const { rest } = serving.account
    // Who waits is told a millisecond after a rest is over.
    const isAwake = rest === null || rest.hardness === 'soft' || rest.untilMs + 1 < this.#world.time.clock()
    if (isAwake && !placings.some((placing) => placing.accountId === accountId)) return true
    return candidates.some((candidate) => candidate.accountId === accountId)
  }
}

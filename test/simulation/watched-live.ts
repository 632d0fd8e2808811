import type { Refusal } from '../../src/domain/limit.ts'
import type { Admission, AdmitRequest, LiveState, RankedCandidate } from '../../src/live/live-state.ts'

/** Hears each step of live state, in the order of the steps. */
export interface LiveWatcher {
  /** A call asks for its slots for the first time. */
  asked?(request: AdmitRequest): void
  /** It has an account: at once, or as a ticket whose turn came. */
  served?(callId: string, admission: Admission): void
  queued?(callId: string): void
  refused?(callId: string, refusal: Refusal): void
  /** Its ticket was given up from outside. */
  gaveUp?(callId: string): void
  /** It gives its account back for one of these. */
  moves?(callId: string, candidates: readonly RankedCandidate[]): void
  reranked?(callId: string, candidates: readonly RankedCandidate[]): void
  settles?(callId: string, confirmsBinding: boolean): void
}

type Answer = Awaited<ReturnType<LiveState['admit']>>

/** The same live state, with some who listen. */
export function watched(live: LiveState, watchers: readonly LiveWatcher[]): LiveState {
  const each = (tell: (watcher: LiveWatcher) => void) => {
    for (const watcher of watchers) tell(watcher)
  }
  const tell = (callId: string, answer: Answer) => {
    if (answer.kind === 'admission') each((one) => one.served?.(callId, answer))
    else if (answer.kind === 'ticket') each((one) => one.queued?.(callId))
    else if (answer.kind === 'refused') each((one) => one.refused?.(callId, answer.refusal))
    return answer
  }
  const steps: Partial<LiveState> = {
    async admit(request) {
      each((one) => one.asked?.(request))
      return tell(request.callId, await live.admit(request))
    },
    async await(ticket, signal) {
      try {
        const answer = await live.await(ticket, signal)
        tell(ticket.callId, answer)
        return answer
      } catch (error) {
        each((one) => one.gaveUp?.(ticket.callId))
        throw error
      }
    },
    async move(admission, candidates) {
      each((one) => one.moves?.(admission.callId, candidates))
      const answer = await live.move(admission, candidates)
      tell(admission.callId, answer)
      return answer
    },
    async rerank(ticket, candidates) {
      each((one) => one.reranked?.(ticket.callId, candidates))
      return live.rerank(ticket, candidates)
    },
    async settle(admission, end) {
      each((one) => one.settles?.(admission.callId, end.confirmsBinding))
      await live.settle(admission, end)
    },
  }
  return new Proxy(live, {
    get(target, name) {
      const step = steps[name as keyof LiveState] ?? target[name as keyof LiveState]
      return typeof step === 'function' ? step.bind(target) : step
    },
  })
}

import type { CallRecord } from '../domain/call.ts'
import { redact } from '../lib/log.ts'
import type { Admission } from '../live/live-state.ts'
import { costOf } from '../pricing/cost.ts'
import type { AttemptResult, StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { type CallEnd, type CallStory, callRecord, noAnswer } from './record.ts'
import type { RunningCall } from './running-calls.ts'

/** A call from its admission to its end: what it holds, what has happened to it, and its one usage row. */
export class AdmittedCall implements RunningCall {
  readonly call: Call
  readonly #gateway: Gateway
  readonly #client: ClientAnswer
  readonly #story: CallStory
  #admission: Admission
  #journaled = false
  #record: CallRecord | null = null
  #answered = false
  #stop: (reason: StopReason) => void = () => {}
  #stopReason: StopReason | null = null

  constructor(gateway: Gateway, call: Call, client: ClientAnswer, admission: Admission) {
    this.#gateway = gateway
    this.call = call
    this.#client = client
    this.#admission = admission
    const serving = servingOf(gateway, admission)
    this.#story = { admittedMs: gateway.clock(), serving, attempts: [], lostNanoUsd: 0 }
    gateway.running.add(this)
  }

  get arrivedMs(): number {
    return this.call.arrivedMs
  }

  get admission(): Admission {
    return this.#admission
  }

  /** The account that is asked now. */
  get serving(): ServingAccount {
    return this.#story.serving
  }

  /** Why somebody wanted it ended; null if nobody did. */
  get stopReason(): StopReason | null {
    return this.#stopReason
  }

  moveTo(admission: Admission): void {
    this.#admission = admission
    this.#story.serving = servingOf(this.#gateway, admission)
  }

  /** How to end what runs at the moment; at once if somebody wanted it ended already. */
  onStop(stop: (reason: StopReason) => void): void {
    this.#stop = stop
    if (this.#stopReason) stop(this.#stopReason)
  }

  stop(reason: StopReason = 'stopped'): void {
    this.#stopReason ??= reason
    this.#stop(this.#stopReason)
  }

  /** Notes one attempt at the account that is asked now. */
  noteAttempt(startedMs: number, result: AttemptResult): void {
    const { serving, attempts, admittedMs } = this.#story
    const fault = 'fault' in result ? result.fault : null
    attempts.push({
      accountId: serving.account.id,
      startedMs: startedMs - this.call.arrivedMs,
      endedMs: this.#gateway.clock() - this.call.arrivedMs,
      status: 'answer' in result ? result.answer.head.status : result.fault.upstreamStatus,
      fault: fault?.reason ?? null,
      message: fault && redact(fault.message),
    })
    if ('answer' in result) this.#answered = true
    else if (result.used) {
      const price = this.#gateway.prices.find(serving.provider.name, this.call.facts.requestedModel, admittedMs)
      this.#story.lostNanoUsd += costOf(result.used, price, 0).costNanoUsd
    }
  }

  /** A trace for the case that the process is killed. */
  journal(): void {
    if (this.#record) return
    this.#journaled = true
    const soFar = callRecord(
      this.#gateway,
      this.call,
      this.#story,
      noAnswer('interrupted', 'killed', this.#client.status),
    )
    this.#gateway.store.usage.journal(soFar)
  }

  /**
   * Writes usage, cost and debit, once. Resolves when that is durable. Throws `unavailable` if it could not be stored in
   * any way; the log then holds the whole record.
   */
  async record(end: CallEnd): Promise<void> {
    if (this.#record) return
    const { guard, counters, log, store } = this.#gateway
    const record = callRecord(this.#gateway, this.call, this.#story, end)
    this.#record = record
    try {
      const how = await store.usage.record(record, this.#journaled)
      if (how === 'committed') guard.stored()
      else guard.failed()
    } catch (error) {
      guard.failed()
      counters.add('usage.lost')
      log.error({ callId: record.id, record, reason: (error as Error).message }, 'a usage record is lost')
      throw error
    }
  }

  /** Gives back what the call holds. Its upstream call must have ended. */
  async settle(): Promise<void> {
    this.#gateway.running.delete(this)
    const record = this.#record
    const spentNanoUsd = record ? (record.payer === 'none' ? record.costNanoUsd : record.chargedNanoUsd) : 0
    await this.#gateway.live.settle(this.#admission, {
      debitNanoUsd: record?.chargedNanoUsd ?? 0,
      spentNanoUsd,
      confirmsBinding: this.#answered,
    })
  }
}

function servingOf(gateway: Gateway, admission: Admission): ServingAccount {
  const serving = gateway.directory.account(admission.accountId)
  if (!serving) throw new Error(`the account ${admission.accountId} was chosen and is not there`)
  return serving
}

import type { CallRecord, Choice, LostUsage, PriceState, SeenLimit } from '../domain/call.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { consumptionOf } from '../domain/limit.ts'
import { hasUsage, type Usage, usedKinds } from '../domain/usage.ts'
import { redact } from '../lib/log.ts'
import type { Admission } from '../live/live-state.ts'
import { costOf } from '../pricing/cost.ts'
import type { MeterReading } from '../protocols/protocol.ts'
import { type AttemptResult, type StopReason, upstreamFault } from './attempt.ts'
import type { Call } from './call.ts'
import type { ClientAnswer } from './client-answer.ts'
import type { ServingAccount } from './directory.ts'
import { booksClosed } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { type CallEnd, type CallStory, callRecord, noAnswer } from './record.ts'
import type { Reservation } from './reservation.ts'
import type { RunningCall } from './running-calls.ts'
import { upstreamModelFor } from './upstream-model.ts'

/** How often a model without a price is warned about. */
const UNPRICED_WARNING_MS = 3_600_000

const PRICE_WARNINGS: Record<PriceState, string> = {
  known: '',
  unknown: 'a model has no price: its calls are recorded with cost 0. Set one with: subgate price set',
  partly_unknown:
    'a model lacks some of its prices: its calls are recorded without those kinds. Set them with: subgate price set',
}
const UNTOLD_WARNING =
  'a model does not tell what its calls use: they are recorded with cost 0. unmetered: refuse in the configuration keeps them out'

/** A call from its admission to its end: what it holds, what has happened to it, and its one usage row. */
export class AdmittedCall implements RunningCall {
  readonly call: Call
  readonly #gateway: Gateway
  readonly #client: ClientAnswer
  readonly #reservation: Reservation
  readonly #story: CallStory
  #admission: Admission
  #journaled = false
  #record: CallRecord | null = null
  #stored = false
  #answered = false
  #settled = false
  #stop: (reason: StopReason) => void = () => {}
  #stopReason: StopReason | null = null
  #reported: Usage | null = null
  /** Set while the answer is read on for a client that has left. */
  #endReadingOn: (() => void) | null = null

  /** Throws `unavailable` if the account is gone, or does not serve the model any more. */
  constructor(
    gateway: Gateway,
    call: Call,
    client: ClientAnswer,
    admission: Admission,
    reservation: Reservation,
    choice: Choice | null,
  ) {
    this.#gateway = gateway
    this.call = call
    this.#client = client
    this.#admission = admission
    this.#reservation = reservation
    const asked = askedOf(gateway, call, admission)
    const seenLimits = seenIn(admission)
    this.#story = { admittedMs: gateway.clock(), choice, seenLimits, ...asked, attempts: [], lostNanoUsd: 0 }
    gateway.running.add(this)
  }

  get callId(): string {
    return this.call.id
  }

  get admittedMs(): number {
    return this.#story.admittedMs
  }

  get admission(): Admission {
    return this.#admission
  }

  /** The account that is asked now. */
  get serving(): ServingAccount {
    return this.#story.serving
  }

  /** The model that it is asked for. */
  get upstreamModel(): string {
    return this.#story.upstreamModel
  }

  /** What the upstream had reported of an answer when the call was stopped before that could be relayed; null for nothing. */
  get reported(): Usage | null {
    return this.#reported
  }

  /** Why somebody wanted it ended; null if nobody did. */
  get stopReason(): StopReason | null {
    return this.#stopReason
  }

  /** Throws `unavailable` if the account is gone, or does not serve the model any more. */
  moveTo(admission: Admission): void {
    this.#admission = admission
    Object.assign(this.#story, askedOf(this.#gateway, this.call, admission))
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

  /** Waits so long, and no longer once somebody wants the call ended or its client has left. */
  pause(ms: number): Promise<void> {
    const { clock, ticker } = this.#gateway
    const { promise, resolve } = Promise.withResolvers<void>()
    const startedAt = performance.now()
    const untilMs = clock() + ms
    const unwatch = ticker.watch((now) => {
      if (now >= untilMs) resolve()
    })
    this.onStop(() => resolve())
    this.#client.onLeave(() => {
      this.clientLeft()
      resolve()
    })
    return promise.finally(() => {
      unwatch()
      if (this.call.timing) this.call.timing.elsewhereMs += performance.now() - startedAt
    })
  }

  /**
   * The client has closed its connection: the upstream call, if it runs, ends now, or is read on for a while. Each try of
   * a call may say so.
   */
  clientLeft(): void {
    if (this.#settled || this.#endReadingOn) return
    if (this.call.whenClientLeaves !== 'read_on') {
      this.stop('client_left')
      return
    }
    const { clock, config, ticker } = this.#gateway
    const readOnUntilMs = clock() + config.gateway.readOnMs
    const unwatch = ticker.watch((now) => {
      if (now < readOnUntilMs) return
      unwatch()
      this.stop('client_left')
    })
    this.#endReadingOn = unwatch
  }

  /** What the call says has no place in the account's format: it is not asked, and the call may go on to one of another format. */
  noteUnfit(refusal: GatewayError): void {
    const { call, serving } = this
    call.unfit ??= new Map()
    call.unfit.set(serving.account.id, refusal)
    const nowMs = this.#gateway.clock()
    const fault = { ...upstreamFault('unfit', refusal.message), blame: 'account' as const, rest: null }
    this.noteAttempt(nowMs, { fault, used: null })
  }

  /** Notes one attempt at the account that is asked now. What a failed one used is the operator's loss, unless the call was stopped. */
  noteAttempt(startedMs: number, result: AttemptResult): void {
    const { serving, attempts } = this.#story
    const fault = 'fault' in result ? result.fault : null
    const wasStopped = fault?.blame === 'client'
    const lost = 'fault' in result && result.used && !wasStopped ? this.#lostUsage(result.used) : null
    attempts.push({
      accountId: serving.account.id,
      startedMs: startedMs - this.call.arrivedMs,
      endedMs: this.#gateway.clock() - this.call.arrivedMs,
      status: 'answer' in result ? result.answer.head.status : result.fault.upstreamStatus,
      fault: fault?.reason ?? null,
      message: fault && redact(fault.message),
      lost,
      ...('answer' in result && result.answer.dropped.length > 0 && { dropped: shownOf(result.answer.dropped) }),
    })
    if ('answer' in result) this.#answered = true
    else if (wasStopped) this.#reported = result.used
    this.#story.lostNanoUsd += lost?.costNanoUsd ?? 0
  }

  #lostUsage(used: Usage): LostUsage {
    const { serving, upstreamModel, admittedMs } = this.#story
    const price = this.#gateway.prices.find(serving.provider.name, upstreamModel, admittedMs)
    return { usage: usedKinds(used), costNanoUsd: costOf(used, price, 0).costNanoUsd }
  }

  /** How far the answer has come: what it uses beyond what was reserved is reserved as well. */
  readonly onProgress = (reading: MeterReading): void => {
    if (!this.#reservation.isOutgrownBy(reading, this.serving)) return
    const { estimate, reservedNanoUsd } = this.#reservation
    this.#gateway.live.raise(this.#admission, { estimate, reservedNanoUsd })
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
   * Writes usage, cost and debit, once: the first end stands, and a second one does nothing. Resolves when that is durable.
   * Throws `unavailable` if it could not be stored in any way; the log then holds the whole record.
   */
  async record(end: CallEnd): Promise<void> {
    if (this.#record) return
    const { guard, counters, log, store } = this.#gateway
    const record = callRecord(this.#gateway, this.call, this.#story, end)
    this.#record = record
    if (record.priceState !== 'known') this.#warnOfPrice(record)
    try {
      const how = await store.usage.record(record, this.#journaled)
      this.#stored = true
      if (how === 'committed') guard.stored()
      else guard.failed()
    } catch (error) {
      // Anything else is about this one record, and says nothing of the others.
      if (isGatewayError(error, 'unavailable')) guard.failed()
      counters.add('usage.lost')
      log.error({ callId: record.id, record, reason: (error as Error).message }, 'a usage record is lost')
      throw isGatewayError(error) ? booksClosed() : error
    }
  }

  #warnOfPrice({ provider, upstreamModel, priceState, usage }: CallRecord): void {
    const { counters, log } = this.#gateway
    counters.add(`price.${priceState}`)
    const subject = `price of ${provider}/${upstreamModel}`
    if (!counters.mayWarn(subject, UNPRICED_WARNING_MS, this.#gateway.clock())) return
    log.warn({ provider, model: upstreamModel }, hasUsage(usage) ? PRICE_WARNINGS[priceState] : UNTOLD_WARNING)
  }

  /** Gives back what the call holds. Its upstream call must have ended. */
  async settle(): Promise<void> {
    this.#settled = true
    this.#endReadingOn?.()
    this.#gateway.running.delete(this)
    const record = this.#record
    const costNanoUsd = record?.costNanoUsd ?? 0
    const spentNanoUsd = record?.payer === 'none' ? costNanoUsd : (record?.chargedNanoUsd ?? 0)
    await this.#gateway.live.settle(this.#admission, {
      debitNanoUsd: this.#stored ? (record?.chargedNanoUsd ?? 0) : 0,
      spentNanoUsd: this.#stored ? spentNanoUsd : 0,
      confirmsBinding: this.#answered,
      // Limits count what was used, be it stored or lost.
      used: record && consumptionOf(record.usage, { costNanoUsd, spentNanoUsd }),
    })
  }
}

/** Of names that a client chose, as many as a row may hold. */
function shownOf(names: readonly string[]): string[] {
  const shown = names.slice(0, NAMES_MAX).map((name) => name.slice(0, NAME_CHARACTERS_MAX))
  return names.length > NAMES_MAX ? [...shown, '…'] : shown
}

const NAMES_MAX = 50
const NAME_CHARACTERS_MAX = 100

function seenIn({ standings }: Admission): SeenLimit[] | null {
  return standings?.map(({ subject, subjectId, limit, used }) => ({ subject, subjectId, limit, used })) ?? null
}

/** Who is asked, and for which model. */
function askedOf(gateway: Gateway, call: Call, admission: Admission): Pick<CallStory, 'serving' | 'upstreamModel'> {
  const serving = gateway.directory.account(admission.accountId)
  if (!serving) {
    throw new GatewayError('unavailable', 'the account that this call was given has just been removed: try again', {
      retryAfterMs: 1000,
    })
  }
  return { serving, upstreamModel: upstreamModelFor(serving, call) }
}

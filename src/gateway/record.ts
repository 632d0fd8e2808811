import type { Attempt, CallRecord, Choice, Outcome, SeenLimit } from '../domain/call.ts'
import { hasUsage, NO_USAGE, type Usage } from '../domain/usage.ts'
import { costOf, costOfPart } from '../pricing/cost.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/** What is known of an admitted call when it ends, or when it is looked at on the way. */
export interface CallEnd {
  outcome: Outcome
  /** Machine word; null if nothing went wrong. */
  error: string | null
  usage: Usage
  /** It used something, perhaps, that `usage` does not say. */
  unmetered: boolean
  estimated: boolean
  reportedModel: string | null
  stopReason: string | null
  firstTokenMs: number | null
  /** Status that the client got, or will get. */
  status: number
  upstreamRequestId: string | null
  storedAs: string | null
}

/** An end without an answer. */
export function noAnswer(outcome: Outcome, error: string, status: number): CallEnd {
  return {
    outcome,
    error,
    usage: { ...NO_USAGE },
    unmetered: false,
    estimated: false,
    reportedModel: null,
    stopReason: null,
    firstTokenMs: null,
    status,
    upstreamRequestId: null,
    storedAs: null,
  }
}

/** What has happened to a call since it was admitted. */
export interface CallStory {
  /** Unix ms. */
  admittedMs: number
  /** How it came to its first account; null if that was the only one. */
  choice: Choice | null
  /** Null if there are none. */
  seenLimits: SeenLimit[] | null
  /** The account that answers, or the last one that was asked. */
  serving: ServingAccount
  /** As that account is asked for it. */
  upstreamModel: string
  attempts: Attempt[]
  /** What failed attempts cost the operator. */
  lostNanoUsd: number
}

/** What the call's cost is multiplied by to charge its caller, in millionths: the caller's own multiplier, or the default. */
export function multiplierOf({ config }: Gateway, { caller }: Call): number {
  return caller.multiplierMicro ?? config.defaults.multiplierMicro
}

/** Of a text that the upstream chose; a row, the start journal and the spill file hold it. */
const WORD_CHARACTERS_MAX = 256

function clipped(text: string | null): string | null {
  return text !== null && text.length > WORD_CHARACTERS_MAX ? text.slice(0, WORD_CHARACTERS_MAX) : text
}

/** Whether a call used something, perhaps, that its usage does not say. What failed used nothing, unless that was reported. */
function usesMore({ facts }: Call, { outcome, usage, unmetered }: CallEnd): boolean {
  if (facts.costs === 'nothing') return false
  if (unmetered || hasUsage(usage)) return unmetered
  return outcome === 'complete' || (facts.costs === 'unknown' && outcome !== 'failed' && outcome !== 'rejected')
}

/** The record of a call: its usage priced at the instant of its admission, and who pays what. */
export function callRecord(gateway: Gateway, call: Call, story: CallStory, end: CallEnd): CallRecord {
  const { config, prices } = gateway
  const { caller } = call
  const { account, provider } = story.serving
  const multiplierMicro = multiplierOf(gateway, call)
  const pays = config.runMode === 'saas'
  const { upstreamModel } = story
  const price = prices.find(provider.name, upstreamModel, story.admittedMs)
  const cost = (usesMore(call, end) ? costOfPart : costOf)(end.usage, price, multiplierMicro)
  return {
    id: call.id,
    atMs: story.admittedMs,
    userId: caller.user.id,
    keyId: caller.key.id,
    groupId: caller.group.id,
    accountId: account.id,
    provider: provider.name,
    protocol: call.protocol.name,
    requestedModel: call.facts.requestedModel,
    upstreamModel,
    reportedModel: clipped(end.reportedModel),
    stream: call.facts.stream,
    outcome: end.outcome,
    status: end.status,
    error: end.error,
    stopReason: clipped(end.stopReason),
    usage: end.usage,
    estimated: end.estimated,
    priceState: cost.priceState,
    costNanoUsd: cost.costNanoUsd,
    chargedNanoUsd: pays ? cost.chargedNanoUsd : 0,
    lostNanoUsd: story.lostNanoUsd,
    multiplierMicro,
    payer: pays ? 'balance' : 'none',
    waitMs: story.admittedMs - call.arrivedMs,
    firstTokenMs: end.firstTokenMs,
    durationMs: gateway.clock() - call.arrivedMs,
    choice: story.choice,
    seenLimits: story.seenLimits,
    attempts: story.attempts,
    upstreamRequestId: clipped(end.upstreamRequestId),
    storedAs: clipped(end.storedAs),
    clientIp: call.clientIp,
    userAgent: call.userAgent,
  }
}

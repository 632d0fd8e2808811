import type { Attempt, Choice, LostUsage, SeenLimit } from '../domain/call.ts'
import { formatAmount, limitName } from '../domain/limit.ts'
import { formatMultiplier, formatUsd } from '../domain/money.ts'
import type { PriceRow } from '../domain/price.ts'
import { hasUsage, USAGE_KINDS } from '../domain/usage.ts'
import { formatDuration } from '../lib/duration.ts'
import type { Names } from '../operations/names.ts'
import { costOf, ratesFor } from '../pricing/cost.ts'
import type { StoredCall } from '../store/store.ts'
import { formatCount, formatPrice, printable } from './format.ts'
import type { Output } from './output.ts'

/** All that is known of one call, for people. `price` is the row in force at its admission, as the price list has it now. */
export function callStory(out: Output, call: StoredCall, name: Names, price: PriceRow | null): string {
  const parts: [title: string, text: string | null][] = [
    ['Limits', call.seenLimits && limitsText(out, call.seenLimits, name)],
    ['Choice', call.choice && choiceText(out, call, call.choice, name)],
    ['Attempts', attemptsText(out, call.attempts, name)],
    ['Usage', usageText(out, call)],
    ['Money', moneyText(out, call, price)],
  ]
  const told = parts.filter(([, text]) => text !== null)
  return [factsText(out, call, name), ...told.map(([title, text]) => `\n${out.style('bold', title)}\n${text}`)].join(
    '\n',
  )
}

function factsText(out: Output, call: StoredCall, name: Names): string {
  const waited = call.choice?.waited ? ', after its turn in line' : ''
  return out.facts([
    ['call', call.id],
    ['user', name.user(call.userId)],
    ['key', name.key(call.keyId)],
    ['group', name.group(call.groupId)],
    ['from', `${call.clientIp}${call.userAgent ? `, ${printable(call.userAgent)}` : ''}`],
    [
      'arrived',
      `${out.time(call.atMs - call.waitMs)}${call.waitMs > 0 ? `, admitted ${formatDuration(call.waitMs)} later${waited}` : ''}`,
    ],
    ['ended', `${out.time(call.endedAtMs)}, after ${formatDuration(call.durationMs)}`],
    ['first content', call.firstTokenMs === null ? 'none came' : `after ${formatDuration(call.firstTokenMs)}`],
    ['model', modelText(call)],
    ['asked by', `${call.protocol}${call.stream ? ', as a stream' : ''}`],
    ['account', `${name.account(call.accountId)} (${call.provider})`],
    [
      'outcome',
      `${call.outcome}${call.error ? ` (${printable(call.error)})` : ''}, HTTP ${call.status || 'none'}${call.stopReason ? `, stop reason ${printable(call.stopReason)}` : ''}`,
    ],
    ['left out', droppedText(call)],
    ['stored as', call.storedAs && printable(call.storedAs)],
    ['upstream request', call.upstreamRequestId && printable(call.upstreamRequestId)],
  ])
}

/** What of the request had no place where it was sent. */
function droppedText({ attempts }: StoredCall): string | null {
  const dropped = attempts.flatMap((attempt) => attempt.dropped ?? [])
  return dropped.length > 0 ? printable(dropped.join(', ')) : null
}

function limitsText(out: Output, limits: SeenLimit[], name: Names): string {
  const table = out.table(limits, [
    { title: 'of', value: ({ subject, subjectId }) => `${subject} ${name[subject](subjectId)}`, shrinks: true },
    { title: 'limit', value: ({ limit }) => limitName(limit) },
    {
      title: 'used',
      align: 'right',
      value: ({ limit, used }) => `${formatAmount(limit.metric, used)} of ${formatAmount(limit.metric, limit.max)}`,
    },
  ])
  return `${table}\nAt its admission, with what it and other running calls might use.`
}

/** One name if all agree, else the three of them; an answer that names none is no other. */
function modelText({ requestedModel, upstreamModel, reportedModel }: StoredCall): string {
  const names = [requestedModel, upstreamModel, reportedModel ?? upstreamModel].map(printable)
  return new Set(names).size === 1 ? (names[0] as string) : `${names.join(' → ')} (asked → sent → answered)`
}

/** Every account that was looked at, and why it was or was not taken. */
function choiceText(out: Output, call: StoredCall, choice: Choice, name: Names): string {
  const { candidates, others, session, fallbackGroupId } = choice
  const rows = [...candidates.map((accountId) => ({ accountId, why: whyTaken(call, choice, accountId) })), ...others]
  const table = out.table(rows, [
    { title: 'account', value: ({ accountId }) => name.account(accountId) },
    { title: 'why', value: ({ why }) => why, shrinks: true },
  ])
  return [
    ...(fallbackGroupId === null
      ? []
      : [`No account of its group could, so it fell back to ${name.group(fallbackGroupId)}.`]),
    table,
    session ? sessionText(session, name) : 'The conversation has no name, so it is kept at no account.',
  ].join('\n')
}

function sessionText({ conversation, source, binding, from }: NonNullable<Choice['session']>, name: Names): string {
  const left = from && `${name.account(from.accountId)}: ${printable(from.why)}`
  const text = {
    kept: 'stayed at its account',
    new: 'was bound to the account that was taken',
    moved: `moved from ${left}`,
    detour: `made a detour from ${left}`,
  }
  return `The conversation ${printable(conversation)}, named by ${source}, ${text[binding]}.`
}

/** Of a candidate, best first: what is known of why the call went to it, or not. */
function whyTaken(call: StoredCall, { candidates, session, waited }: Choice, accountId: string): string {
  const [first = call.accountId, ...later] = call.attempts.map((attempt) => attempt.accountId)
  if (accountId === first) return session?.binding === 'kept' ? "taken: the conversation's own" : 'taken'
  if (later.includes(accountId)) return 'asked later'
  if (session?.binding === 'kept') return "not the conversation's own"
  if (waited) return 'its slots were busy for longer'
  return candidates.indexOf(accountId) < candidates.indexOf(first) ? 'its slots were busy' : 'not needed'
}

function attemptsText(out: Output, attempts: Attempt[], name: Names): string {
  if (attempts.length === 0) return 'No account was asked.'
  return out.table(attempts, [
    { title: 'account', value: (attempt) => name.account(attempt.accountId) },
    { title: 'began', align: 'right', value: (attempt) => `${attempt.startedMs} ms` },
    { title: 'took', align: 'right', value: (attempt) => `${attempt.endedMs - attempt.startedMs} ms` },
    {
      title: 'status',
      align: 'right',
      value: (attempt) => (attempt.status === null ? 'none' : String(attempt.status)),
    },
    { title: 'fault', value: (attempt) => attempt.fault ?? 'none, it answered' },
    ...(attempts.some(({ lost }) => lost)
      ? [{ title: 'lost', value: ({ lost }: Attempt) => lost && lostText(lost) }]
      : []),
    { title: 'said', value: (attempt) => attempt.message, shrinks: true },
  ])
}

function lostText({ usage, costNanoUsd }: LostUsage): string {
  const tokens = USAGE_KINDS.flatMap((kind) => (usage[kind] ? [`${formatCount(usage[kind])} ${KIND_NAMES[kind]}`] : []))
  return `${tokens.join(', ')} (${formatUsd(costNanoUsd)})`
}

const KIND_NAMES: Record<(typeof USAGE_KINDS)[number], string> = {
  inputTokens: 'input',
  cacheWrite5mTokens: 'cache write, 5 minutes',
  cacheWrite1hTokens: 'cache write, 1 hour',
  cacheReadTokens: 'cache read',
  outputTokens: 'output',
  reasoningTokens: 'of it reasoning',
  webSearchRequests: 'web searches',
}

function usageText(out: Output, { usage, estimated }: StoredCall): string {
  const tokens = USAGE_KINDS.filter((kind) => usage[kind] > 0).map(
    (kind) => [KIND_NAMES[kind], formatCount(usage[kind])] as const,
  )
  const text = tokens.length === 0 ? 'None was reported.' : out.facts(tokens)
  return estimated ? `${text}\nThe output is estimated: the client left before the upstream reported it.` : text
}

function moneyText(out: Output, call: StoredCall, price: PriceRow | null): string {
  return out.facts([
    ['price', priceText(out, call, price)],
    ['cost at list price', costText(call)],
    [
      'charged',
      call.payer === 'none'
        ? 'nobody (simple mode)'
        : `${formatUsd(call.chargedNanoUsd)} from the balance, × ${formatMultiplier(call.multiplierMicro)}`,
    ],
    ['failed attempts', call.lostNanoUsd > 0 ? `${formatUsd(call.lostNanoUsd)}, which the operator bears` : null],
  ])
}

/** The row that the call was priced by, where it still gives the same cost. */
function priceText(out: Output, call: StoredCall, price: PriceRow | null): string | null {
  if (call.priceState === 'unknown' && !hasUsage(call.usage)) return null
  const { costNanoUsd, priceState } = costOf(call.usage, price, call.multiplierMicro)
  const hadPrice = call.priceState !== 'unknown'
  if (costNanoUsd !== call.costNanoUsd || hadPrice !== (priceState !== 'unknown'))
    return 'not the one that the list has now'
  if (!price) return null
  const rates = ratesFor(call.usage, price)
  const kinds = (['input', 'output', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h'] as const).flatMap((kind) => {
    const rate = rates[kind]
    return rate === null ? [] : [`${RATE_NAMES[kind]} $${formatPrice(rate)}`]
  })
  const tier =
    rates === price.base ? '' : `, for prompts over ${formatCount(price.long?.abovePromptTokens ?? 0)} tokens`
  const from = price.effectiveFromMs === 0 ? '' : `, in force from ${out.time(price.effectiveFromMs)}`
  return `${kinds.join(', ')} per million tokens${tier} (${printable(price.model)}${from})`
}

const RATE_NAMES = {
  input: 'input',
  output: 'output',
  cacheRead: 'cache read',
  cacheWrite5m: 'cache write 5m',
  cacheWrite1h: 'cache write 1h',
} as const

function costText(call: StoredCall): string {
  if (call.priceState === 'unknown') {
    return hasUsage(call.usage) ? 'unknown: the model has no price' : 'unknown: what it used was not told'
  }
  return `${formatUsd(call.costNanoUsd)}${call.priceState === 'partly_unknown' ? ', without kinds that have no price' : ''}`
}

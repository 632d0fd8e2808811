import type { CallRecord } from '../../src/domain/call.ts'
import type { Answered } from './chaos-answers.ts'
import type { Life } from './chaos-clients.ts'
import { isLong } from './chaos-plan.ts'
import type { SeenByUpstream } from './chaos-upstream.ts'

/** All that is known when a chaos run is over and nobody asks any more. */
export interface Evidence {
  answered: readonly Answered[]
  lives: readonly Pick<Life, 'stoppedMs' | 'killedMs'>[]
  seen: readonly SeenByUpstream[]
  rows: readonly Row[]
  /** What the gateway holds still, by what it is called; all must be 0. */
  left: Record<string, number>
  /** Who was seen in the meantime to hold something that had no right to. */
  forgotten: readonly string[]
  /** What `usage verify` found. */
  proof: readonly string[]
  /** Lines of the gateway's log that must never be written. */
  alarms: readonly string[]
  /** With which codes it ended that was told to stop; null = it had to be killed. */
  exitCodes: readonly (number | null)[]
}

export type Row = Pick<CallRecord, 'id' | 'outcome' | 'usage' | 'userAgent' | 'attempts'>

/**
 * Calls that ran for a second are in the start journal, which is written by the way and not waited for: on a machine
 * that is busy it may take so long, in ms.
 */
const JOURNALED_AFTER_MS = 1000 + 1500

/** How calls end that reached no upstream. */
const WITHOUT_UPSTREAM: ReadonlySet<string> = new Set(['client_left', 'stopped', 'failed', 'timed_out', 'interrupted'])

/** Everything that must not be, in words. */
export function violations(evidence: Evidence): string[] {
  const { answered, seen, left, forgotten, proof, alarms, exitCodes } = evidence
  const rows = Map.groupBy(evidence.rows, ({ userAgent }) => userAgent ?? '')
  const byName = new Map(answered.map((answer) => [answer.name, answer]))
  const seenByName = new Map(seen.map((call) => [call.name, call]))
  return [
    ...Object.entries(left)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `in the end ${count} ${what}`),
    ...forgotten,
    ...proof.map((problem) => `usage verify: ${problem}`),
    ...alarms.map((line) => `the log says: ${line}`),
    ...exitCodes.filter((code) => code !== 0).map((code) => `told to stop, it ended with ${code}`),
    ...answered.flatMap((answer) => {
      const life = evidence.lives[answer.life] as Life
      const seen = seenByName.get(answer.name)
      const problems = [
        ...answer.flaws,
        ...problemsOfEnd(answer, life, seen),
        ...problemsOfRows(answer, life, seen, rows.get(answer.name) ?? []),
      ]
      const call = `${answer.name} (${answer.callId ?? 'without a call id'}, upstream: ${seen?.kinds.join(', ') ?? 'not asked'})`
      return problems.map((problem) => `${call}: ${problem}`)
    }),
    ...[...rows].flatMap(([name, [row]]) => (byName.has(name) ? [] : [`${row?.id}: a row of a call that nobody made`])),
  ]
}

/** Whether its client heard how the call ended; if not, somebody has to have left, or the gateway has to have been killed. */
function problemsOfEnd(
  answer: Answered,
  { stoppedMs, killedMs }: Pick<Life, 'stoppedMs' | 'killedMs'>,
  seen?: SeenByUpstream,
): string[] {
  const { end, left, stoppedReading, endedMs, status, isStream } = answer
  if (end !== null || left || stoppedReading) return []
  if (killedMs !== null && endedMs >= killedMs) return []
  if (status === 0) return stoppedMs !== null && endedMs >= stoppedMs ? [] : ['it got no answer']
  // Nothing but a reset says that a JSON body is not whole that has begun to go out.
  if (!isStream && seen?.kinds.some(isLong)) return []
  return [isStream ? 'its stream ended without a terminal event or an error event' : 'its answer was cut']
}

function problemsOfRows(
  { asks, end, status, callId, usage }: Answered,
  { killedMs }: Pick<Life, 'stoppedMs' | 'killedMs'>,
  seen: SeenByUpstream | undefined,
  rows: readonly Row[],
): string[] {
  const [row, another] = rows
  if (asks === 'token count') return row ? ['a token count has a row'] : []
  if (another) return ['it has two rows']
  if (!row) {
    if (end === 'complete') return ['its client got it whole, and it has no row']
    if (!seen) return [] // refused, or its client left before it was admitted
    // Who heard of an end heard it after it was recorded.
    const isExcused = end === null && killedMs !== null && seen.firstMs > killedMs - JOURNALED_AFTER_MS
    return isExcused ? [] : ['an upstream was asked for it, and it has no row']
  }
  const problems: string[] = []
  if (callId !== null && row.id !== callId) problems.push(`its row has another id: ${row.id}`)
  if (!seen && !WITHOUT_UPSTREAM.has(row.outcome)) problems.push(`it is '${row.outcome}', and no upstream was asked`)
  if (end === 'complete' && row.outcome !== 'complete')
    problems.push(`its client got it whole, and it is '${row.outcome}'`)
  if (end === 'error' && row.outcome === 'complete')
    problems.push(`its client was told of an error (${status}), and it is 'complete'`)
  if (end === 'complete' && usage) {
    const { inputTokens, outputTokens, cacheReadTokens } = row.usage
    const isSame =
      usage.inputTokens === inputTokens &&
      usage.outputTokens === outputTokens &&
      usage.cacheReadTokens === cacheReadTokens
    if (!isSame)
      problems.push(`it is recorded with ${JSON.stringify(row.usage)}, and its client saw ${JSON.stringify(usage)}`)
  }
  return problems
}

import { InvalidArgumentError } from 'commander'
import type { PauseAt, RestRule } from '../domain/account.ts'
import { parseDeadlineChange } from '../domain/deadline.ts'
import { isGatewayError } from '../domain/errors.ts'
import { type ModelMapChange, parseModelMapChange } from '../domain/model-map.ts'
import { RULE_REST_MAX_MS } from '../gateway/rests.ts'
import { formatDuration, parseDuration } from '../lib/duration.ts'
import { DEFAULT_GROUP } from '../operations/set-up.ts'
import type { Store } from '../store/store.ts'
import type { Context } from './context.ts'
import { flag, listFlag } from './options.ts'

/** What flags of accounts mean, and how what they say is printed. */

export const MAP_MEANT = 'asks it for SENT where a client asks for ASKED, a model or a pattern such as claude-*'
const modelMapChange = flag(parseModelMapChange)

/** `claude-*=claude-sonnet-5-5`, `claude-*=none` or `none`. */
export function modelMapChanges(text: string, before: ModelMapChange[] = []): ModelMapChange[] {
  return [...before, modelMapChange(text)]
}

/** `x-team=red`, or `none`. */
export function headerList(text: string, before: Record<string, string> = {}): Record<string, string> {
  if (text === 'none') return {}
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError(`'${text}' is not NAME=VALUE`)
  return { ...before, [text.slice(0, at).trim()]: text.slice(at + 1).trim() }
}

export const DEADLINES = 'how long connect, first_event, idle, answer or total may take here, such as first_event=90s'

/** `first_event=90s`, `first_event=none` or `none`. */
export const deadlineList = listFlag(parseDeadlineChange)

/** The words in it that an error may say are many enough. */
const RULE_WORDS_MAX = 20

/** `403:quota exceeded,plan limit=30m`: status, words if any, and how long. */
export function restRuleList(text: string, before: RestRule[] = []): RestRule[] {
  if (text === 'none') return []
  const [, status, words, time = ''] = /^([1-5]\d\d)(?::(.+))?=([^=]+)$/.exec(text) ?? []
  const restMs = parseDuration(time)
  const keywords = words === undefined ? [] : words.split(',').map((word) => word.trim())
  if (status === undefined || restMs === null || keywords.includes('') || keywords.length > RULE_WORDS_MAX) {
    throw new InvalidArgumentError(`'${text}' is not STATUS=TIME or STATUS:WORDS=TIME, such as 403:quota exceeded=30m`)
  }
  if (restMs < 1000 || restMs > RULE_REST_MAX_MS) {
    throw new InvalidArgumentError(`a rest is 1s to ${formatDuration(RULE_REST_MAX_MS)} long`)
  }
  return [...before, { status: Number(status), keywords, restMs }]
}

export const HYBRID = 'of an Antigravity account: it serves the general paths beside /antigravity/…'
export const ONLY_CLIENT = 'serve only calls that come from this program'
export const PAUSE_AT = 'no calls once so much of a vendor window is used, such as 5h=90%; may be repeated'
/** Of one account; vendors have four windows. */
const PAUSES_MAX = 16

/** `5h=90%`, or `none`. */
export function pauseList(text: string, before: PauseAt[] = []): PauseAt[] {
  if (text === 'none') return []
  const [, window, percent] = /^([a-z0-9_]{1,64})=(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? []
  const used = Number(percent) / 100
  if (window === undefined || !(used > 0 && used <= 1)) {
    throw new InvalidArgumentError(`'${text}' is not WINDOW=SHARE, such as 5h=90%`)
  }
  if (before.length === PAUSES_MAX) throw new InvalidArgumentError(`an account has ${PAUSES_MAX} of them at most`)
  return [...before.filter((one) => one.window !== window), { window, used }]
}

/** `90% of 5h` */
export function pauseText({ window, used }: PauseAt): string {
  return `${Number((used * 100).toFixed(2))}% of ${window}`
}

/** As it is written. */
export function restRuleText({ status, keywords, restMs }: RestRule): string {
  return `${status}${keywords.length > 0 ? `:${keywords.join(',')}` : ''}=${formatDuration(restMs)}`
}

/** Groups by name; without any, the default one if it is there. */
export async function groupsFor({ out }: Context, store: Store, names: string[] | undefined): Promise<string[]> {
  if (names) return Promise.all(names.map(async (name) => (await store.groups.find(name)).id))
  try {
    return [(await store.groups.find(DEFAULT_GROUP)).id]
  } catch (error) {
    if (!isGatewayError(error, 'not_found')) throw error
    out.warn(`there is no group '${DEFAULT_GROUP}': attach the account with subgate group attach GROUP --account …`)
    return []
  }
}

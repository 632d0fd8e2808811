import { InvalidArgumentError, Option } from 'commander'
import { isGatewayError } from '../domain/errors.ts'
import {
  changedLimits,
  formatAmount,
  formatWindow,
  type Limit,
  type LimitChange,
  type LimitStanding,
  type LimitSubject,
  limitName,
  parseLimitChange,
} from '../domain/limit.ts'
import { askDaemon } from './admin-client.ts'
import type { Context } from './context.ts'
import { flag } from './options.ts'

/** What a command's flags say of limits, as they were written. */
export interface LimitFlags {
  limit?: string[]
  rpm?: string
  tpm?: string
}

const MEANT = 'METRIC=N/WINDOW, such as requests=60/1m, tokens=200k/5h, usd=5/month or usd=50/7d@2026-11-01'

/** `--limit`, which a new thing gets. */
export function newLimitOption(subject: LimitSubject): Option {
  return new Option('--limit <limit>', `${meantFor(subject)}; may be repeated`).argParser(textsFor(subject))
}

/** `--limit` of `set`, which adds, changes and takes away. */
export function setLimitOption(subject: LimitSubject): Option {
  const removing = 'METRIC=none/WINDOW or METRIC=none takes away, none takes all away'
  const help = `${meantFor(subject)}; ${removing}; others stay; may be repeated`
  return new Option('--limit <limit>', help).argParser(textsFor(subject))
}

function meantFor(subject: LimitSubject): string {
  return subject === 'account' ? `${MEANT}, or for some models requests[claude-opus-*]=100/5h` : MEANT
}

/** Shorthands for what users are limited by most. */
export function perMinuteOptions(none = ''): [Option, Option] {
  return [
    new Option('--rpm <n>', `requests a minute: --limit requests=N/1m${none}`).argParser(amount('requests')),
    new Option('--tpm <n>', `tokens a minute: --limit tokens=N/1m${none}`).argParser(amount('tokens')),
  ]
}

/** Read here for its complaints, and again with the configured time zone when it is known. */
function textsFor(subject: LimitSubject): (text: string, before: string[] | undefined) => string[] {
  return (text, before) => {
    const change = checked(text)
    const of = change.kind === 'set' ? change.limit : change.kind === 'remove' ? change.of : null
    if (of?.models !== undefined && subject !== 'account') {
      throw new InvalidArgumentError('only accounts have limits for some models')
    }
    return [...(before ?? []), text]
  }
}

function amount(metric: string): (text: string) => string {
  return (text) => {
    checked(`${metric}=${text}/1m`)
    return text
  }
}

const checked = flag((text) => parseLimitChange(text, 'UTC'))

/** The limits that something has after these flags; undefined if they say nothing of limits. */
export function limitsAfter({ config }: Context, flags: LimitFlags, before: readonly Limit[]): Limit[] | undefined {
  const texts = [
    ...(flags.limit ?? []),
    ...(flags.rpm === undefined ? [] : [`requests=${flags.rpm}/1m`]),
    ...(flags.tpm === undefined ? [] : [`tokens=${flags.tpm}/1m`]),
  ]
  if (texts.length === 0) return undefined
  const changes: LimitChange[] = texts.map((text) => parseLimitChange(text, config.defaults.timeZone))
  return flag(() => changedLimits(before, changes))('')
}

/** A limit, with what is used of it if somebody knows. */
export interface ShownLimit {
  metric: Limit['metric']
  /** Of an account: the pattern of those that it is for; null = all. */
  models: string | null
  window: string
  /** Nano-USD for usd. */
  limit: number
  /** Null: no daemon runs, which alone knows. */
  used: number | null
  resetAtMs: number | null
}

/** The limits of something, with what the running daemon knows of them. */
export async function shownLimits(
  { config }: Context,
  subject: LimitSubject,
  { id, limits }: { id: string; limits: readonly Limit[] },
): Promise<ShownLimit[]> {
  if (limits.length === 0) return []
  const standings = await standingsFrom(config, `/limits?subject=${subject}&id=${encodeURIComponent(id)}`)
  return limits.map((limit) => {
    const standing = standings.find((one) => limitName(one.limit) === limitName(limit))
    return {
      metric: limit.metric,
      models: limit.models ?? null,
      window: formatWindow(limit.window),
      limit: limit.max,
      used: standing?.used ?? null,
      resetAtMs: standing?.resetAtMs ?? null,
    }
  })
}

async function standingsFrom(config: Context['config'], path: string): Promise<LimitStanding[]> {
  try {
    return await askDaemon<LimitStanding[]>(config, path)
  } catch (error) {
    if (isGatewayError(error, 'unavailable')) return [] // no daemon runs
    throw error
  }
}

/** Limits as facts of something: one a line. */
export function limitFacts({ out }: Context, limits: readonly ShownLimit[]): (readonly [string, string])[] {
  if (limits.length === 0) return [['limits', 'none']]
  return limits.map(({ metric, models, window, limit, used, resetAtMs }, index) => {
    const max = formatAmount(metric, limit)
    const amounts = used === null ? max : `${formatAmount(metric, used)} of ${max}`
    const reset = used !== null && used > 0 && resetAtMs !== null ? `, all back at ${out.time(resetAtMs)}` : ''
    return [
      index === 0 ? 'limits' : '',
      `${metric}${models === null ? '' : ` for ${models}`} per ${window}: ${amounts}${reset}`,
    ]
  })
}

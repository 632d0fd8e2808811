import { Option } from 'commander'
import { isGatewayError } from '../domain/errors.ts'
import {
  changedLimits,
  formatAmount,
  formatWindow,
  type Limit,
  type LimitChange,
  type LimitStanding,
  type LimitSubject,
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

const MEANT = 'METRIC=N/WINDOW, such as requests=60/1m, tokens=200k/5h or usd=5/month'

/** `--limit`, which a new thing gets. */
export function newLimitOption(): Option {
  return new Option('--limit <limit>', `${MEANT}; may be repeated`).argParser(texts)
}

/** `--limit` of `set`, which adds, changes and takes away. */
export function setLimitOption(): Option {
  const removing = 'METRIC=none/WINDOW or METRIC=none takes away, none takes all away'
  return new Option('--limit <limit>', `${MEANT}; ${removing}; others stay; may be repeated`).argParser(texts)
}

/** Shorthands for what users are limited by most. */
export function perMinuteOptions(none = ''): [Option, Option] {
  return [
    new Option('--rpm <n>', `requests a minute: --limit requests=N/1m${none}`).argParser(amount('requests')),
    new Option('--tpm <n>', `tokens a minute: --limit tokens=N/1m${none}`).argParser(amount('tokens')),
  ]
}

/** Read here for its complaints, and again with the configured time zone when it is known. */
function texts(text: string, before: string[] | undefined): string[] {
  checked(text)
  return [...(before ?? []), text]
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
    const window = formatWindow(limit.window)
    const standing = standings.find(
      (one) => one.limit.metric === limit.metric && formatWindow(one.limit.window) === window,
    )
    return {
      metric: limit.metric,
      window,
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
  return limits.map(({ metric, window, limit, used, resetAtMs }, index) => {
    const max = formatAmount(metric, limit)
    const amounts = used === null ? max : `${formatAmount(metric, used)} of ${max}`
    const reset = used !== null && used > 0 && resetAtMs !== null ? `, all back at ${out.time(resetAtMs)}` : ''
    return [index === 0 ? 'limits' : '', `${metric} per ${window}: ${amounts}${reset}`]
  })
}

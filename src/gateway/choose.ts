import type { Rest } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import { formatWait } from '../lib/duration.ts'
import type { RankedCandidate } from '../live/live-state.ts'
import { takesApiKey } from '../providers/provider.ts'
import type { Call } from './call.ts'
import { isLogin, type Obstacle, obstacleFor } from './candidacy.ts'
import type { Pool, ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { rank } from './rank.ts'
import { hardRestOf } from './rests.ts'
import { upstreamModelFor } from './upstream-model.ts'
import { countsFor } from './windows.ts'

/** So many go into one admission; in a larger group those that rank behind wait for their turn, but for a session's own account. */
const CANDIDATES_MAX = 32

/** Who could take a call at this moment, and why the others could not. */
export interface Survey {
  /** Best first. */
  candidates: ServingAccount[]
  /** The pool that they are of: the first of the group's chain that has any; null if none has. */
  pool: Pool | null
  /** Those that would do too, and rank behind so many others. */
  surplus: ServingAccount[]
  /** Accounts of the pools that were looked at. */
  hindered: { serving: ServingAccount; obstacle: Obstacle }[]
}

/** Looks at the wanted accounts of the call's group, and of those that it falls back to as long as none would do. */
export function survey(
  gateway: Gateway,
  call: Call,
  isWanted: (serving: ServingAccount) => boolean = () => true,
): Survey {
  const nowMs = gateway.clock()
  const model = call.facts.requestedModel
  const hindered: Survey['hindered'] = []
  for (const pool of gateway.directory.poolsOf(call.caller.group.id)) {
    const pinned = pool.pinnedTo(model)
    const able: ServingAccount[] = []
    for (const serving of pool.accounts) {
      if (!isWanted(serving)) continue
      const obstacle = obstacleFor(gateway, call, serving, pinned, nowMs)
      if (obstacle) hindered.push({ serving, obstacle })
      else able.push(serving)
    }
    if (able.length === 0) continue
    const ranked = able.length === 1 ? able : inOrder(gateway, call, able, nowMs)
    return { candidates: ranked.slice(0, CANDIDATES_MAX), pool, surplus: ranked.slice(CANDIDATES_MAX), hindered }
  }
  return { candidates: [], pool: null, surplus: [], hindered }
}

/** The same; throws why there is no candidate. */
export function requireCandidates(gateway: Gateway, call: Call): Survey {
  const surveyed = survey(gateway, call)
  if (surveyed.candidates.length === 0) throw nobodyCan(gateway, call)
  return surveyed
}

/** The accounts that could take the call now, best first. */
export function candidatesFor(gateway: Gateway, call: Call): ServingAccount[] {
  return survey(gateway, call).candidates
}

function inOrder(gateway: Gateway, call: Call, accounts: ServingAccount[], nowMs: number): ServingAccount[] {
  const { breakers, windows, random } = gateway
  const contenders = accounts.map((serving) => {
    const { account, host } = serving
    const model = upstreamModelFor(serving, call)
    const rests = account.rest !== null && account.rest.untilMs > nowMs
    const isDoubtful = rests || hardRestOf(account, model, nowMs) !== null || breakers.isOpen(host)
    const { priority, weight } = account
    const all = windows.lately(serving)
    const counting = all.every(({ models }) => models === null) ? all : all.filter((one) => countsFor(one, model))
    return { serving, priority, weight, windows: counting, isDoubtful }
  })
  return rank(contenders, nowMs, random).map(({ serving }) => serving)
}

/** What live state may choose from. A session's own account is among it also while it rests for less than a session waits for it. */
export function rankedOf(gateway: Gateway, call: Call, { candidates, surplus, hindered }: Survey): RankedCandidate[] {
  const ranked = candidates.map((serving) => asRanked(serving, call))
  for (const serving of surplus) ranked.push({ ...asRanked(serving, call), onlyOwnFromMs: 0 })
  if (hindered.length === 0) return ranked
  const waitedForMs = gateway.clock() + gateway.config.gateway.stickyWaitMs
  for (const { serving, obstacle } of hindered) {
    if (obstacle.is !== 'rest' || obstacle.rest.untilMs >= waitedForMs) continue
    ranked.push({ ...asRanked(serving, call), onlyOwnFromMs: obstacle.rest.untilMs })
  }
  return ranked
}

/** What live state has to know of an account. */
function asRanked(serving: ServingAccount, call: Call): RankedCandidate {
  const { id, concurrency, limits } = serving.account
  return { accountId: id, model: upstreamModelFor(serving, call), concurrency, limits }
}

/** How near each obstacle is to serving the call: of several accounts those that came furthest tell why nobody can. */
const STAGES: Record<Obstacle['is'], number> = {
  ...{ not_pinned: 0, elsewhere: 1, not_held: 1, protocol: 2, login: 2, model: 2, unpriced: 3, unfit: 4, client: 5 },
  ...{ status: 6, expired: 6, rest: 7, paused_at: 7, host: 7 },
}

/** Why nobody can take the call now: an error that says whether waiting helps, and for how long. */
export function nobodyCan(gateway: Gateway, call: Call): GatewayError {
  const model = call.facts.requestedModel
  const nowMs = gateway.clock()
  const { candidates, hindered } = survey(gateway, call)
  const pools = gateway.directory.poolsOf(call.caller.group.id)
  const group = `group '${call.caller.group.name}'${pools.length > 1 ? ', or of those it falls back to,' : ''}`
  if (candidates.length > 0) return unreachable(model)
  if (hindered.length === 0) {
    // Not 404: for that Claude Code shows its own words instead of ours.
    return hopeless('unavailable', `group '${call.caller.group.name}' has no accounts: the operator has to attach one`)
  }
  const furthest = Math.max(...hindered.map(({ obstacle }) => STAGES[obstacle.is]))
  const obstacles = hindered.map(({ obstacle }) => obstacle).filter(({ is }) => STAGES[is] === furthest)
  switch (furthest) {
    case STAGES.not_pinned:
      return hopeless(
        'unavailable',
        `${group} routes the model '${model}' to accounts that it does not have: the operator has to look`,
      )
    case STAGES.elsewhere:
      return hopeless('not_found', `no account of ${group} serves this path`)
    case STAGES.model: {
      if (obstacles.some(({ is }) => is === 'model')) {
        return hopeless('not_found', `no account of ${group} serves the model '${model}'`)
      }
      const what = `no account of ${group} can do this in the format ${call.protocol.name}`
      const hasLogins = takesApiKey(call.operation) && hindered.some(({ serving }) => isLogin(serving))
      return hopeless('not_supported', what + (hasLogins ? ': that takes an API key, and what it has are logins' : ''))
    }
    case STAGES.unpriced: {
      const message = `the model '${model}' has no price here, and this gateway refuses what it cannot charge for`
      return hopeless('not_found', message)
    }
    case STAGES.unfit:
      return obstacles.flatMap((one) => (one.is === 'unfit' ? [one.refusal] : []))[0] as GatewayError
    case STAGES.client: {
      const clients = [...new Set(obstacles.flatMap((one) => (one.is === 'client' ? [one.only] : [])))].join(' or ')
      // Not 403: for that Claude Code sends its user to log in.
      return hopeless(
        'unavailable',
        `every account that serves '${model}' takes only calls that come from ${clients}, and this one does not`,
      )
    }
    case STAGES.status:
      return hopeless(
        'unavailable',
        `every account that serves '${model}' is paused, disabled or expired: the operator has to look`,
      )
    default:
      return untilItHeals(model, obstacles, nowMs)
  }
}

/** Where time helps with some account at least, or its operator would have to. */
function untilItHeals(model: string, obstacles: readonly Obstacle[], nowMs: number): GatewayError {
  // A host that is down may be back in a moment: worth more than the end of another account's rest.
  if (obstacles.some(({ is }) => is === 'host')) return unreachable(model)
  const pauses = obstacles.flatMap((one) => (one.is === 'paused_at' ? [one.window.resetAtMs] : []))
  const rests = obstacles.flatMap((one) => (one.is === 'rest' && !isForItsOperator(one.rest) ? [one.rest] : []))
  if (pauses.length + rests.length === 0) {
    return hopeless(
      'overloaded',
      `every account that serves '${model}' is refused by its vendor: the operator has to look`,
    )
  }
  const backMs = Math.min(...pauses, ...rests.map(({ untilMs }) => untilMs))
  const facts = { retryAfterMs: Math.max(1000, backMs - nowMs) }
  const back = `. The first is back in ${formatWait(facts.retryAfterMs, nowMs)}`
  if (rests.some(({ kind }) => kind === 'rate_limit')) {
    return new GatewayError(
      'limited',
      `every upstream account that serves '${model}' is at its vendor's rate limit${back}`,
      facts,
    )
  }
  if (pauses.length > 0) {
    const message = `every upstream account that serves '${model}' has used as much of its vendor's quota as its operator lets it${back}`
    return new GatewayError('limited', message, facts)
  }
  return new GatewayError('overloaded', `every account that serves '${model}' is resting after errors${back}`, facts)
}

function isForItsOperator({ kind }: Rest): boolean {
  return kind === 'credential' || kind === 'funds'
}

function unreachable(model: string): GatewayError {
  return new GatewayError('overloaded', `no upstream that serves '${model}' can be reached at the moment`, {
    retryAfterMs: 1000,
  })
}

function hopeless(code: 'not_found' | 'unavailable' | 'overloaded' | 'not_supported', message: string): GatewayError {
  return new GatewayError(code, message, { shouldRetry: false })
}

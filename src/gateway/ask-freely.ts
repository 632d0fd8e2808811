import { GatewayError } from '../domain/errors.ts'
import type { UpstreamFault } from '../domain/fault.ts'
import { type AttemptResult, attempt, type GoodAnswer, type StopReason } from './attempt.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import { clientLeft, errorFor } from './ends.ts'
import type { Failure } from './failover.ts'
import type { Gateway } from './gateway.ts'
import { underRules } from './rests.ts'
import type { Stoppable } from './stoppable.ts'
import { upstreamModelFor } from './upstream-model.ts'
import { wireTo } from './wire.ts'

/** Who is asked, and how. */
export interface FreeQuestion {
  /** The best first. */
  accounts: readonly ServingAccount[]
  /** Unix ms by which an account has to have answered. */
  dueMs(serving: ServingAccount): number
  /** The answer is something new: after an account that may have made it nobody else is asked. */
  makes?: boolean
}

/**
 * For what takes no slot and leaves no usage row: asks one account after the other, until one answers, and rests none of
 * them. Throws what the client is to hear when none does. Whoever gets the answer has to end its exchange.
 */
export async function askFreely(
  gateway: Gateway,
  call: Call,
  stoppable: Stoppable,
  { accounts, dueMs, makes = false }: FreeQuestion,
): Promise<GoodAnswer> {
  let last: Failure | null = null
  for (const serving of accounts.slice(0, gateway.config.gateway.maxAttempts)) {
    if (stoppable.clientLeft) throw clientLeft()
    const result = await askOne(gateway, call, stoppable, serving, dueMs(serving))
    if ('answer' in result) return result.answer
    last = { serving, fault: underRules(serving.account, result.fault) }
    if (!mayBeAskedElsewhere(last.fault, makes)) break
  }
  // Google says so of what is gone.
  if (call.heldAt !== null && last?.fault.upstreamStatus === 403) throw goneOrClosed()
  throw errorFor(gateway, call, last as Failure)
}

/** What is only looked at may be asked for twice. */
function mayBeAskedElsewhere({ blame, reason }: UpstreamFault, makes: boolean): boolean {
  return blame === 'account' || (makes ? reason === 'connect_failed' : blame === 'upstream')
}

async function askOne(
  gateway: Gateway,
  call: Call,
  stoppable: Stoppable,
  serving: ServingAccount,
  deadlineMs: number,
): Promise<AttemptResult> {
  const wire = wireTo(gateway, call, serving, upstreamModelFor(serving, call))
  if ('unfit' in wire) throw wire.unfit
  let forget = () => {}
  try {
    const onStart = (stop: (reason: StopReason) => void) => {
      forget()
      forget = stoppable.add(stop)
    }
    return await attempt(gateway, call, serving, wire, { deadlineMs, mustStream: () => false, onStart })
  } finally {
    forget()
  }
}

function goneOrClosed(): GatewayError {
  const message = 'what is asked for is not there any more, or its vendor does not let it be read'
  return new GatewayError('not_found', message, { shouldRetry: false, isAboutObject: true })
}

import type { Deadlines } from '../domain/deadline.ts'
import type { CallFacts } from '../protocols/protocol.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

const CONFIGURED = {
  connectMs: 'connectTimeoutMs',
  firstEventMs: 'firstEventTimeoutMs',
  idleMs: 'idleTimeoutMs',
  answerMs: 'answerTimeoutMs',
  totalMs: 'totalTimeoutMs',
} as const satisfies Record<keyof Deadlines, string>

/** How long something may take with this account: its own word, else the configuration's. */
export function deadlineMs({ config }: Gateway, { account }: ServingAccount, name: keyof Deadlines): number {
  return account.deadlines[name] ?? config.gateway[CONFIGURED[name]]
}

/** Its answer is a stream whose first event comes at once, and not when all is done. */
export function beginsSoon({ stream, startsLate }: Pick<CallFacts, 'stream' | 'startsLate'>): boolean {
  return stream && !startsLate
}

/** Unix ms when a call that is asked of the account now has to have begun its stream, or to be whole. */
export function answerDueMs(
  gateway: Gateway,
  serving: ServingAccount,
  { arrivedMs, facts }: { arrivedMs: number; facts: Pick<CallFacts, 'stream' | 'startsLate'> },
): number {
  const dueMs = beginsSoon(facts)
    ? gateway.clock() + deadlineMs(gateway, serving, 'firstEventMs')
    : arrivedMs + deadlineMs(gateway, serving, 'answerMs')
  return Math.min(dueMs, arrivedMs + deadlineMs(gateway, serving, 'totalMs'))
}

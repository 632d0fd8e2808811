import type { Deadlines } from '../domain/deadline.ts'
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

/** Unix ms when a call that is asked of the account now has to have begun its stream, or to be whole. */
export function answerDueMs(
  gateway: Gateway,
  serving: ServingAccount,
  { arrivedMs, facts }: { arrivedMs: number; facts: { stream: boolean } },
): number {
  const dueMs = facts.stream
    ? gateway.clock() + deadlineMs(gateway, serving, 'firstEventMs')
    : arrivedMs + deadlineMs(gateway, serving, 'answerMs')
  return Math.min(dueMs, arrivedMs + deadlineMs(gateway, serving, 'totalMs'))
}

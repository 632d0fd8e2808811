import type { UpstreamFault } from '../domain/fault.ts'
import { redact } from '../lib/log.ts'
import { providers } from '../providers/index.ts'
import type { StoredAccount } from '../store/store.ts'
import { askUpstream } from './ask-upstream.ts'
import type { Workspace } from './workspace.ts'

/** What an account's upstream said to a question that costs nothing. */
export interface AccountTest {
  /** works: it lists its models · reached: it answers but has no model list, so the credential is not proved · fails: see `message`. */
  result: 'works' | 'reached' | 'fails'
  /** Whose fault it is, if it fails. */
  blame: UpstreamFault['blame'] | null
  message: string
  /** How to allow an address that is refused; null for all else. */
  remedy: string | null
  models: number | null
  durationMs: number
}

/** Asks the account's upstream for its model list: the one question that proves a credential and is not billed. */
export async function testAccount(work: Workspace, account: StoredAccount): Promise<AccountTest> {
  const provider = providers[account.provider]
  const startedMs = work.clock()
  const verdict = (result: AccountTest['result'], message: string, more: Partial<AccountTest> = {}): AccountTest => ({
    ...{ result, message: redact(message), blame: null, remedy: null, models: null },
    durationMs: work.clock() - startedMs,
    ...more,
  })
  const credentials = work.secrets.openCredentials(account)
  const forwarded = { headers: {}, query: '?limit=1000' }
  const request = provider.request('models', forwarded, account, credentials, null)
  const asked = await askUpstream(work, request, account.deadlines.connectMs)
  if ('failure' in asked) return verdict('fails', asked.failure, { blame: 'upstream', remedy: asked.remedy })
  const { head, body } = asked
  if (head.status === 200) {
    try {
      const models = provider.readModels(body).length
      return verdict('works', `it lists ${models} models`, { models })
    } catch {
      return verdict('reached', 'it answers, but with no model list that can be read')
    }
  }
  const fault = provider.readFault(head, body, work.clock())
  if (fault.blame === 'request') return verdict('reached', `it answers ${head.status} and has no model list`)
  return verdict('fails', `${fault.message} (${fault.reason}, HTTP ${head.status})`, { blame: fault.blame })
}

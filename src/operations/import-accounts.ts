import { secretOf } from '../domain/account.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { redact } from '../lib/log.ts'
import { providers } from '../providers/index.ts'
import type { StoredAccount } from '../store/store.ts'
import type { FoundAccount } from './account-files.ts'
import { defaultBaseUrl, type NewAccount, preparedAccount } from './add-account.ts'
import { askUpstream } from './ask-upstream.ts'
import type { Workspace } from './workspace.ts'

/** What became of one entry of an import. */
export interface ImportedAccount {
  /** As it is, or would be, called here. */
  name: string
  provider: string
  result: 'added' | 'exists' | 'refused'
  from: string
  accountId: string | null
  /** Why it was refused and what helps; as which account it exists; what of it was not taken over. */
  detail: string | null
}

/** Accounts in the variables that the providers' own tools read. */
export function accountsInEnvironment(env: NodeJS.ProcessEnv): FoundAccount[] {
  return Object.values(providers).flatMap(({ name, environment }): FoundAccount[] => {
    const apiKey = environment && env[environment.apiKey]?.trim()
    if (!apiKey) return []
    const account = { provider: name, apiKey, baseUrl: env[environment.baseUrl]?.trim() || null }
    return [{ from: environment.apiKey, name, provider: name, account, paused: false, leftOut: [] }]
  })
}

/**
 * Adds what is not there yet. An entry whose credential an account has already exists; one whose name another account
 * has gets a number behind it. One entry's refusal does not stop the others. With `dryRun` nothing is written.
 */
export async function importAccounts(
  work: Workspace,
  found: readonly FoundAccount[],
  { groupIds, dryRun }: { groupIds: string[]; dryRun: boolean },
): Promise<ImportedAccount[]> {
  const accounts = await work.store.accounts.list()
  const names = new Set(accounts.map(({ name }) => name))
  const known = new Map(accounts.flatMap((account) => identityOfStored(work, account)))
  const results: ImportedAccount[] = []
  for (const { account, paused, leftOut, ...head } of found) {
    if ('refusal' in account) {
      results.push({ ...head, result: 'refused', accountId: null, detail: account.refusal })
      continue
    }
    const existing = known.get(identityOf(account))
    if (existing) {
      results.push({ ...head, result: 'exists', accountId: existing.id, detail: `as '${existing.name}'` })
      continue
    }
    const name = freeName(head.name, names)
    try {
      const whole = dryRun ? account : await withAccountId(work, account)
      const prepared = preparedAccount(work, { ...whole, name, groupIds })
      const { id } = prepared
      if (!dryRun) {
        await work.store.accounts.add(prepared)
        if (paused) await work.store.accounts.set({ id, changes: { status: 'paused' }, by: work.by })
      }
      names.add(name)
      known.set(identityOf(account), { id, name })
      const notes = [...(paused ? ['paused, as it was switched off'] : []), ...leftOut.map((what) => `without ${what}`)]
      results.push({ ...head, name, result: 'added', accountId: dryRun ? null : id, detail: notes.join('; ') || null })
    } catch (error) {
      if (!isGatewayError(error)) throw error
      const detail = [error.message, error.facts.hint].filter(Boolean).join(' · ')
      results.push({ ...head, name, result: 'refused', accountId: null, detail })
    }
  }
  return results
}

type FoundCredentials = Exclude<FoundAccount['account'], { refusal: string }>

/** With what its calls belong to, where a login does not say so itself. Throws `unavailable` if its provider does not tell. */
async function withAccountId(work: Workspace, account: FoundCredentials): Promise<FoundCredentials> {
  const { provider: name, apiKey: accessToken, oauth } = account
  const provider = providers[name]
  if (!oauth || oauth.accountId !== null || !provider.readAccountId) return account
  const called = { baseUrl: account.baseUrl ?? defaultBaseUrl(account), headers: account.headers ?? {} }
  const credentials = { kind: 'oauth', accessToken, ...oauth } as const
  const asked = await askUpstream(
    work,
    provider.request('identity', { headers: {}, query: '' }, called, credentials, null),
  )
  const accountId = 'failure' in asked || asked.head.status !== 200 ? null : provider.readAccountId(asked.body)
  if (accountId !== null) return { ...account, oauth: { ...oauth, accountId } }
  const why = 'failure' in asked ? asked.failure : provider.readFault(asked.head, asked.body, work.clock()).message
  throw new GatewayError(
    'unavailable',
    `${provider.title} does not tell what this login's calls belong to: ${redact(why)}`,
    {
      hint: 'Sign in once with its own program, or give account_id.',
    },
  )
}

function identityOf(account: Pick<NewAccount, 'provider' | 'baseUrl' | 'apiKey' | 'oauth'>): string {
  const { provider, baseUrl, apiKey } = account
  const url = baseUrl ?? defaultBaseUrl(account)
  return `${provider} ${url.replace(/\/+$/, '')} ${apiKey}`
}

/** Nothing for an account whose credentials this master key does not open. */
function identityOfStored(work: Workspace, account: StoredAccount): [string, { id: string; name: string }][] {
  try {
    const apiKey = secretOf(work.secrets.openCredentials(account))
    return [[identityOf({ ...account, apiKey }), { id: account.id, name: account.name }]]
  } catch {
    return []
  }
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  if (!taken.has(wanted)) return wanted
  let number = 2
  while (taken.has(`${wanted}-${number}`)) number++
  return `${wanted}-${number}`
}

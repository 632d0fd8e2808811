import type { AccountObject, ObjectKind } from '../domain/account-object.ts'
import { GatewayError } from '../domain/errors.ts'
import type { Named } from '../protocols/named-objects.ts'
import type { Call } from './call.ts'
import type { Gateway } from './gateway.ts'

/**
 * What vendors keep lies at one account and belongs to one user: it is found at that account only, and for everybody else
 * it is not there, whatever key they use.
 */

/**
 * The account at which all lies that a call names; null if it names nothing. Throws `not_found` for what is not the
 * caller's, or lies where the key's group does not reach, and `invalid_request` for what lies at several accounts.
 */
export async function whereItLies(
  gateway: Gateway,
  call: Call,
  named: readonly Named[] | undefined,
): Promise<string | null> {
  if (!named || named.length === 0) return null
  const reached = accountsReached(gateway, call)
  const ids = [...new Set(named.map(({ id }) => id))]
  const found = await gateway.store.objects.find({ ids })
  const homes = new Map<string, string>()
  for (const { id, accountId, userId } of found) {
    if (userId === call.caller.user.id && reached.has(accountId) && !homes.has(id)) homes.set(id, accountId)
  }
  for (const one of named) {
    if (homes.has(one.id)) continue
    // One person with one account may have made it without this gateway.
    const isNobodys = !found.some(({ id }) => id === one.id)
    const [only] = reached.size === 1 && gateway.config.runMode === 'simple' ? reached : []
    if (!isNobodys || only === undefined) throw notThere(one)
    homes.set(one.id, only)
  }
  const [home, another] = new Set(homes.values())
  if (another === undefined) return home as string
  throw new GatewayError(
    'invalid_request',
    `${[...new Set(named.map(({ field }) => field))].join(' and ')}: what is named lies at different upstream accounts, and can only be used together where it lies at one: upload it again`,
    { shouldRetry: false },
  )
}

/** The accounts of the key's group, and of those that it falls back to, at which the names of the call's format mean something. */
export function accountsReached({ directory }: Gateway, { caller, protocol }: Call): Set<string> {
  const all = directory.poolsOf(caller.group.id).flatMap(({ accounts }) => accounts)
  const speaking = all.filter(({ provider, account }) => provider.speaks(account).includes(protocol.name))
  return new Set(speaking.map(({ account }) => account.id))
}

/** The account that has the user's newest file, so that what is uploaded together lies together; null if none has any. */
export async function homeOfFiles(gateway: Gateway, call: Call): Promise<string | null> {
  const accountIds = [...accountsReached(gateway, call)]
  const wanted = { userId: call.caller.user.id, kind: 'file' as const, accountIds }
  const [newest] = await gateway.store.objects.list({ ...wanted, order: 'newest', after: null, limit: 1 })
  return newest?.accountId ?? null
}

/**
 * Keeps whose it is and where it lies, before anybody hears of it. `areNew`: their vendor has just made them, and if one of the names
 * was another's, it has been given away again.
 */
export async function keepObjects(
  { store, clock, log }: Gateway,
  { caller }: Call,
  accountId: string,
  told: readonly { kind: ObjectKind; id: string; lifetimeMs: number | undefined }[],
  areNew: boolean,
): Promise<void> {
  if (told.length === 0) return
  const userId = caller.user.id
  const known = (await store.objects.find({ ids: told.map(({ id }) => id) })).filter(
    (one) => one.accountId === accountId,
  )
  const news = told.filter(({ id }) => !known.some((one) => one.id === id && one.userId === userId))
  const taken = known.filter((one) => one.userId !== userId)
  for (const { id, userId: before } of taken) {
    log.warn({ id, accountId, before, userId, areNew }, 'a vendor has given the name of something to two users')
  }
  const createdAtMs = clock()
  const objects = news.map(({ kind, id, lifetimeMs }): AccountObject => {
    const expiresAtMs = lifetimeMs === undefined ? null : createdAtMs + lifetimeMs
    return { kind, id, accountId, userId, createdAtMs, expiresAtMs }
  })
  if (objects.length > 0) await store.objects.keep({ objects, areNew })
}

export function notThere({ field, id }: Named): GatewayError {
  const shown = id.length > SHOWN_CHARACTERS ? `${id.slice(0, SHOWN_CHARACTERS)}…` : id
  return new GatewayError('not_found', `${field}: there is no '${shown}' that this API key can use`, {
    ...{ shouldRetry: false, isAboutObject: true },
  })
}

const SHOWN_CHARACTERS = 100

import { GatewayError } from '../../domain/errors.ts'
import { GROUPS_IN_CHAIN_MAX, type ModelRoute } from '../../domain/group.ts'
import { fromJson, requireRow, type Trx } from './db.ts'

/** Throws `invalid_request` if a route names an account that the group does not have. */
export async function requireAttached(trx: Trx, groupId: string, routes: readonly ModelRoute[]): Promise<void> {
  if (routes.length === 0) return
  const rows = await trx.selectFrom('group_accounts').select('account_id').where('group_id', '=', groupId).execute()
  const attached = new Set(rows.map((row) => row.account_id))
  for (const accountId of routes.flatMap((route) => route.accountIds)) {
    if (attached.has(accountId)) continue
    const name = (table: 'groups' | 'accounts', id: string) =>
      trx.selectFrom(table).select('name').where('id', '=', id).executeTakeFirst()
    const account = (await name('accounts', accountId))?.name ?? accountId
    const group = (await name('groups', groupId))?.name ?? groupId
    throw new GatewayError('invalid_request', `account '${account}' is not attached to group '${group}'`, {
      hint: `A route leads to accounts of its group: subgate group attach ${group} --account ${account}`,
    })
  }
}

/** Throws `conflict` if a route of any group leads to the account: without it, its models would go nowhere. */
export async function requireNoRoute(trx: Trx, account: { id: string; name: string }): Promise<void> {
  const groups = await trx.selectFrom('groups').select(['name', 'routes']).where('routes', '!=', '[]').execute()
  for (const { name, routes } of groups) {
    const route = fromJson<ModelRoute[]>(routes).find(({ accountIds }) => accountIds.includes(account.id))
    if (!route) continue
    const message = `group '${name}' routes '${route.pattern}' to account '${account.name}'`
    throw new GatewayError('conflict', message, {
      hint: `Give its routes anew without it: subgate group set ${name} --route …, or --route none`,
    })
  }
}

/** Throws `invalid_request` if a group, there already or new, would fall back to itself in the end, or a chain be too long. */
export async function requireChain(
  trx: Trx,
  { id, name: newName }: { id: string; name?: string | undefined },
  fallbackGroupId: string | null,
): Promise<void> {
  if (fallbackGroupId === null) return
  await requireRow(trx, 'groups', fallbackGroupId)
  const groups = await trx.selectFrom('groups').select(['id', 'name', 'fallback_group_id']).execute()
  const next = new Map(groups.map((group) => [group.id, group.fallback_group_id]))
  next.set(id, fallbackGroupId)
  const name = (groupId: string) => groups.find((group) => group.id === groupId)?.name ?? newName
  for (const start of next.keys()) {
    const chain: string[] = []
    for (let at: string | null | undefined = start; at; at = next.get(at)) {
      if (chain.includes(at)) {
        const circle = [...chain, at].map(name).join(' → ')
        throw new GatewayError('invalid_request', `group '${name(id)}' would fall back to itself: ${circle}`)
      }
      chain.push(at)
    }
    if (chain.length > GROUPS_IN_CHAIN_MAX) {
      const message = `a chain of groups is ${GROUPS_IN_CHAIN_MAX} long at most: ${chain.map(name).join(' → ')}`
      throw new GatewayError('invalid_request', message)
    }
  }
}

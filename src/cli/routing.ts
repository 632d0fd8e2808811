import { InvalidArgumentError, Option } from 'commander'
import { type Group, ROUTES_MAX } from '../domain/group.ts'
import type { AddGroup, Store, StoredAccount } from '../store/store.ts'
import { printable } from './format.ts'

/** Where a group's calls go, as a command's flags say it. */
export interface RoutingFlags {
  route?: WrittenRoute[]
  fallback?: string
}

/** A route as it is written: accounts as people refer to them. */
interface WrittenRoute {
  pattern: string
  accounts: string[]
}

/** `--route`; `none` says how to get rid of them, where there may be some. */
export function routeOption(none = ''): Option {
  const meant = 'PATTERN=ACCOUNT[,ACCOUNT…]: models that match go to these accounts only; may be repeated'
  return new Option('--route <route>', `${meant}${none}`).argParser(routeList)
}

export function fallbackOption(none = ''): Option {
  return new Option('--fallback <group>', `whose accounts are asked when none of this group's could take a call${none}`)
}

/** What the help of both has to say. */
export const ROUTING_HELP = `
The first route whose pattern matches the model counts, and leads to accounts of this group: none of the group's other
accounts is asked for the model, not even while those of the route rest.

A group falls back only when none of its accounts could take the call at all; where they are busy, the call waits for them. Then the
fallback group's accounts are asked, by that group's own routes, and after them those that it falls back to itself. The call
stays this group's: its multiplier and limits count, and its users need not be attached to the other.
`

/** `claude-opus-*=work,home`, or `none`. */
function routeList(text: string, before: WrittenRoute[] = []): WrittenRoute[] {
  if (text === 'none') return []
  const at = text.lastIndexOf('=')
  const pattern = text.slice(0, Math.max(0, at)).trim()
  const names = text.slice(at + 1).split(',')
  const accounts = [...new Set(names.map((name) => name.trim()))]
  if (pattern === '' || /\s/.test(pattern) || accounts.includes('')) {
    throw new InvalidArgumentError(`'${text}' is not PATTERN=ACCOUNT[,ACCOUNT…], such as claude-opus-*=work`)
  }
  if (before.length === ROUTES_MAX) throw new InvalidArgumentError(`a group has ${ROUTES_MAX} routes at most`)
  return [...before, { pattern, accounts }]
}

/** What the flags change. Throws `not_found` for an account or a group that is not there. */
export async function routingAfter(
  store: Store,
  { route, fallback }: RoutingFlags,
): Promise<Pick<AddGroup, 'routes' | 'fallbackGroupId'>> {
  const idOf = async (ref: string) => (await store.accounts.find(ref)).id
  const routes = route?.map(async ({ pattern, accounts }) => ({
    pattern,
    accountIds: await Promise.all(accounts.map(idOf)),
  }))
  return {
    ...(routes && { routes: await Promise.all(routes) }),
    ...(fallback === 'none' && { fallbackGroupId: null }),
    ...(fallback !== undefined && fallback !== 'none' && { fallbackGroupId: (await store.groups.find(fallback)).id }),
  }
}

/** Routes and fallback as facts of a group: one route a line. `accounts` are the group's. */
export function routingFacts(
  { routes }: Group,
  accounts: readonly StoredAccount[],
  fallback: Group | null,
): (readonly [string, string | null])[] {
  const nameOf = (id: string) => accounts.find((account) => account.id === id)?.name ?? `${id} (not attached)`
  return [
    ...routes.map(({ pattern, accountIds }, index) => {
      return [index === 0 ? 'routes' : '', printable(`${pattern} → ${accountIds.map(nameOf).join(', ')}`)] as const
    }),
    ['falls back to', fallback && printable(fallback.name)],
  ]
}

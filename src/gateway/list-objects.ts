import type { AccountObject } from '../domain/account-object.ts'
import { GatewayError, isGatewayError } from '../domain/errors.ts'
import { objectOf } from '../protocols/loose-json.ts'
import type { JsonObject } from '../protocols/neutral.ts'
import type { ListPage, ObjectEndpoint, ObjectFormat } from '../protocols/objects.ts'
import { accountsReached, notThere, originOf } from './account-objects.ts'
import { askFreely } from './ask-freely.ts'
import type { Call } from './call.ts'
import type { ClientAnswer } from './client-answer.ts'
import { deadlineMs } from './deadlines.ts'
import type { Gateway } from './gateway.ts'
import { Stoppable } from './stoppable.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** Asked for at a time, for one list. */
const FETCHES_AT_A_TIME = 8
/** For one page, where most of what is looked at is not wanted. */
const LOOKED_AT_MAX = 1000

/**
 * A page of what the caller has, and nothing else: whose it is stands in the store, what has become of it is asked of the
 * accounts, one by one. What an account does not have any more is forgotten.
 */
export async function listObjects(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  endpoint: ObjectEndpoint,
  client: ClientAnswer,
): Promise<void> {
  const page = format.page(new URLSearchParams(call.query))
  using stoppable = new Stoppable(gateway, client)
  const { items, hasMore } = await collect(gateway, call, format, endpoint, stoppable, page)
  const list = format.renderList(page.reversed ? items.reverse() : items, { ...page, kind: endpoint.kind, hasMore })
  client.end(Buffer.from(JSON.stringify(list)), { status: 200, headers: ['content-type', 'application/json'] })
}

async function collect(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  { kind }: ObjectEndpoint,
  stoppable: Stoppable,
  page: ListPage,
): Promise<{ items: JsonObject[]; hasMore: boolean }> {
  const wanted = { userId: call.caller.user.id, kind, accountIds: [...accountsReached(gateway, call)] }
  const items: JsonObject[] = []
  let after = page.after === null ? null : await cursor(gateway, call, page.after)
  for (let lookedAt = 0; ; ) {
    const limit = page.limit - items.length
    const found = await gateway.store.objects.list({ ...wanted, order: page.order, after, limit: limit + 1 })
    const looked = found.slice(0, limit)
    for (const item of await fetchAll(gateway, call, format, stoppable, looked))
      if (page.isWanted(item)) items.push(item)
    lookedAt += looked.length
    const hasMore = found.length > limit
    if (!hasMore || items.length === page.limit || lookedAt >= LOOKED_AT_MAX) return { items, hasMore }
    after = looked.at(-1) as AccountObject
  }
}

/** Throws `not_found` for what is not the caller's. */
async function cursor({ store }: Gateway, { caller }: Call, id: string): Promise<AccountObject> {
  const found = (await store.objects.find({ ids: [id] })).find(({ userId }) => userId === caller.user.id)
  if (!found) throw notThere({ field: 'after', id })
  return found
}

/** In the same order; without those that are gone. */
async function fetchAll(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  stoppable: Stoppable,
  objects: readonly AccountObject[],
): Promise<JsonObject[]> {
  const fetched: (JsonObject | null)[] = []
  for (let start = 0; start < objects.length; start += FETCHES_AT_A_TIME) {
    const some = objects.slice(start, start + FETCHES_AT_A_TIME)
    fetched.push(...(await Promise.all(some.map((object) => fetchOne(gateway, call, format, stoppable, object)))))
  }
  return fetched.filter((item) => item !== null)
}

/** Null if it is gone. */
async function fetchOne(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  stoppable: Stoppable,
  { id, accountId }: AccountObject,
): Promise<JsonObject | null> {
  const serving = gateway.directory.account(accountId)
  if (!serving) return null
  const path = format.pathOf(id, call.path.split('?')[0] as string)
  const asked: Call = { ...call, method: 'GET', path, query: '', heldAt: accountId }
  const dueMs = () => call.arrivedMs + deadlineMs(gateway, serving, 'firstEventMs')
  try {
    const { reader, exchange } = await askFreely(gateway, asked, stoppable, [serving], dueMs)
    exchange.cancel('over')
    const item = objectOf(Buffer.concat([...reader.ready, ...reader.held]).toString('utf8'))
    if (!item) throw new GatewayError('overloaded', `the upstream’s answer for '${id}' makes no sense`)
    return format.addressed?.(item, originOf(call)) ?? item
  } catch (error) {
    if (isGatewayError(error, 'not_found')) return null
    if (!(error instanceof UpstreamRefusal && error.status === 404)) throw error
    await gateway.store.objects.drop({ accountId, id })
    return null
  }
}

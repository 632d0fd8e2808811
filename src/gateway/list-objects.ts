import type { AccountObject } from '../domain/account-object.ts'
import { isGatewayError } from '../domain/errors.ts'
import { objectOf } from '../protocols/loose-json.ts'
import type { JsonObject } from '../protocols/neutral.ts'
import { accountsReached, notThere } from './account-objects.ts'
import { askFreely } from './ask-freely.ts'
import type { Call } from './call.ts'
import { obstacleFor } from './candidacy.ts'
import { deadlineMs } from './deadlines.ts'
import { clientLeft } from './ends.ts'
import type { Gateway } from './gateway.ts'
import type { ObjectRequest } from './handle-object.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** Asked for at a time, for one list. */
const FETCHES_AT_A_TIME = 8
/** For one page, where most of what is looked at is not wanted. */
const LOOKED_AT_MAX = 300

/**
 * A page of what the caller has, and nothing else: whose it is stands in the store, what has become of it is asked of the
 * accounts, one by one. What its vendor does not have any more is left out; of what cannot be asked for now only the name is told.
 */
export async function listObjects(gateway: Gateway, request: ObjectRequest): Promise<void> {
  const { call, client, endpoint, format } = request
  const page = format.page(new URLSearchParams(call.query))
  const wanted = { userId: call.caller.user.id, kind: endpoint.kind, order: page.order }
  const accountIds = [...accountsReached(gateway, call)]
  const items: JsonObject[] = []
  let after = page.after === null ? null : await cursor(gateway, call, page.after)
  let next: string | null = null
  for (let lookedAt = 0; lookedAt < LOOKED_AT_MAX; ) {
    const limit = Math.min(page.limit - items.length, LOOKED_AT_MAX - lookedAt)
    const found = await gateway.store.objects.list({ ...wanted, accountIds, after, limit: limit + 1 })
    const looked = found.slice(0, limit)
    for (const item of await fetchAll(gateway, request, looked)) if (page.isWanted(item)) items.push(item)
    lookedAt += looked.length
    after = looked.at(-1) ?? null
    next = found.length > limit ? (after?.id ?? null) : null
    if (next === null || items.length === page.limit) break
  }
  const list = format.renderList(page.reversed ? items.reverse() : items, { ...page, kind: endpoint.kind, next })
  client.end(Buffer.from(JSON.stringify(list)), { status: 200, headers: ['content-type', 'application/json'] })
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
  request: ObjectRequest,
  objects: readonly AccountObject[],
): Promise<JsonObject[]> {
  const fetched: (JsonObject | null)[] = []
  for (let start = 0; start < objects.length; start += FETCHES_AT_A_TIME) {
    if (request.stoppable.clientLeft) throw clientLeft()
    const some = objects.slice(start, start + FETCHES_AT_A_TIME)
    fetched.push(...(await Promise.all(some.map((object) => fetchOne(gateway, request, object)))))
  }
  return fetched.filter((item) => item !== null)
}

/** Null if it is gone. */
async function fetchOne(
  gateway: Gateway,
  { call, endpoint, format, origin, stoppable }: ObjectRequest,
  { id, accountId }: AccountObject,
): Promise<JsonObject | null> {
  const stub = format.stubOf(id, endpoint.kind)
  const serving = gateway.directory.account(accountId)
  const path = `${endpoint.path}/${format.segmentOf(id)}`
  const asked: Call = { ...call, method: 'GET', path, query: '', heldAt: accountId }
  if (!serving || obstacleFor(gateway, asked, serving, null, gateway.clock())) return stub
  const dueMs = () => gateway.clock() + deadlineMs(gateway, serving, 'firstEventMs')
  try {
    const { reader, exchange, whole } = await askFreely(gateway, asked, stoppable, { accounts: [serving], dueMs })
    exchange.cancel('over')
    const item = whole ? objectOf(Buffer.concat([...reader.ready, ...reader.held]).toString('utf8')) : null
    return item ? (format.addressed?.(item, origin) ?? item) : stub
  } catch (error) {
    const isGone = error instanceof UpstreamRefusal ? error.status === 404 : isGatewayError(error, 'not_found')
    if (!isGone && !(error instanceof UpstreamRefusal) && !isGatewayError(error)) throw error
    return isGone ? null : stub
  }
}

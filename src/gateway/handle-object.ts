import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderName } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import { objectOf } from '../protocols/loose-json.ts'
import type { Named } from '../protocols/named-objects.ts'
import type { ObjectEndpoint, ObjectFormat } from '../protocols/objects.ts'
import { homeOfFiles, keepObjects, notThere, whereItLies } from './account-objects.ts'
import { requireMetered, requireQuota, requireRate } from './allowance.ts'
import { askFreely } from './ask-freely.ts'
import type { GoodAnswer } from './attempt.ts'
import type { Call } from './call.ts'
import { requireCandidates } from './choose.ts'
import { ClientAnswer } from './client-answer.ts'
import { deadlineMs } from './deadlines.ts'
import type { ServingAccount } from './directory.ts'
import { countRefusal, shuttingDown } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { listObjects } from './list-objects.ts'
import { originOf } from './origin.ts'
import { readCall } from './read-call.ts'
import { Relay } from './relay.ts'
import { Stoppable } from './stoppable.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** Of one key. */
const REQUESTS_PER_MINUTE = 600
/** Each asks accounts many times. */
const LISTS_PER_MINUTE = 60

/** A request about what lies at an account. */
export interface ObjectRequest {
  call: Call
  format: ObjectFormat
  endpoint: ObjectEndpoint
  client: ClientAnswer
  stoppable: Stoppable
  /** Where the client has reached this gateway. */
  origin: string
}

/**
 * One request about what lies at an account: files, batches, stored responses and the like. It takes no slot and leaves no
 * usage row. What is made goes to an account of the key's group and is kept as its user's there; all else is asked of the
 * account that has it, and is not there for anybody but its owner.
 */
export async function handleObject(
  gateway: Gateway,
  format: ObjectFormat,
  endpoint: ObjectEndpoint,
  req: IncomingMessage,
  res: ServerResponse,
  { segment, onlyProvider }: { segment: string; onlyProvider: ProviderName | null },
): Promise<void> {
  const arrivedMs = gateway.clock()
  const callId = newCallId(arrivedMs)
  const client = new ClientAnswer(gateway, format.protocol, res, { callId, arrivedMs })
  const wanted = { operation: 'objects', onlyProvider } as const
  try {
    using call = await readCall(gateway, format.protocol, req, { callId, arrivedMs, wanted })
    gateway.counters.add('objects')
    if (gateway.running.draining) throw shuttingDown()
    if (endpoint.does === 'list') await requireRate(gateway, call.caller, 'list files and the like', LISTS_PER_MINUTE)
    else await requireRate(gateway, call.caller, 'ask for files and the like', REQUESTS_PER_MINUTE)
    await requireQuota(gateway, call.caller)
    if (endpoint.unmetered) requireMayBeUnmetered(gateway, call)
    // Whoever leaves while something is made has it all the same, and has to find it.
    using stoppable = new Stoppable(gateway, client, { staysForClient: endpoint.does !== 'make' })
    const request = { call, format, endpoint, client, stoppable, origin: originOf(gateway, req) }
    if (endpoint.does === 'list') await listObjects(gateway, request)
    else await answer(gateway, request, segment)
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

/** Models are set to work that no call names, and no answer tells what they use. Throws `not_supported` and `forbidden`. */
function requireMayBeUnmetered(gateway: Gateway, { caller }: Call): void {
  requireMetered(gateway, { facts: { costs: 'unknown' } })
  if (caller.key.models.length === 0) return
  const message = 'this API key may use only some models, and which ones a batch uses cannot be seen: use another key'
  throw new GatewayError('forbidden', message, { shouldRetry: false })
}

async function answer(gateway: Gateway, request: ObjectRequest, segment: string): Promise<void> {
  const { call, endpoint, stoppable } = request
  const id = idIn(request, segment)
  const named = id === null ? [] : [{ field: endpoint.kind, id }]
  call.heldAt = await whereItLies(gateway, call, [...named, ...namedIn(request)])
  call.path = pathOf(request, segment)
  const accounts = call.heldAt === null ? await inOrder(gateway, call) : requireCandidates(gateway, call).candidates
  const dueMs = (serving: ServingAccount) => call.arrivedMs + deadlineMs(gateway, serving, 'answerMs')
  const isDeleted = endpoint.does === 'delete' && id !== null
  let answer: GoodAnswer
  try {
    answer = await askFreely(gateway, call, stoppable, { accounts, dueMs, makes: endpoint.does === 'make' })
  } catch (error) {
    const isGone = error instanceof UpstreamRefusal && error.status === 404
    if (isGone && isDeleted) await drop(gateway, call, id)
    throw error
  }
  try {
    if (endpoint.tells) await takeIn(gateway, request, answer)
    if (isDeleted) await drop(gateway, call, id)
    await relay(gateway, request, answer)
  } finally {
    answer.exchange.cancel('over')
  }
}

/** What the path names, or an upload that the query goes on with; null where something new is made. Throws `not_found`. */
function idIn({ call, format, endpoint }: ObjectRequest, segment: string): string | null {
  if (!endpoint.path.includes('*')) return format.continuedBy?.(new URLSearchParams(call.query)) ?? null
  if (!format.segment.test(segment)) throw notThere({ field: endpoint.kind, id: segment })
  return format.idOf(endpoint.kind, segment)
}

/** The path in no other spelling than the one that was understood. */
function pathOf({ call, format, endpoint }: ObjectRequest, segment: string): string {
  return endpoint.path === '' ? (format.modelPath?.(call.path) ?? '') : endpoint.path.replace('*', segment)
}

/** What a request for something new names; of one that goes on, or is about what is there, the path has said all. */
function namedIn({ call, format, endpoint }: ObjectRequest): Named[] {
  const { body, headers } = call
  return endpoint.does === 'make' && body ? format.namedIn(endpoint.kind, headers['content-type'], body) : []
}

/** Candidates for something new, the one that has the user's files before the others: what is used together has to lie together. */
async function inOrder(gateway: Gateway, call: Call): Promise<ServingAccount[]> {
  const { candidates, surplus } = requireCandidates(gateway, call)
  const all = [...candidates, ...surplus]
  const home = await homeOfFiles(gateway, call)
  const first = all.find(({ account }) => account.id === home)
  return first ? [first, ...all.filter((one) => one !== first)] : all
}

/**
 * What the answer tells is kept before the client hears of it, and the addresses in it become this gateway's. Throws
 * `overloaded` for an answer that is too long for something new; a longer one about what is there passes as it is.
 */
async function takeIn(gateway: Gateway, request: ObjectRequest, answer: GoodAnswer): Promise<void> {
  const { call, format, endpoint, origin } = request
  const { head, reader, whole, serving } = answer
  const isNew = endpoint.does === 'make'
  if (!whole && !isNew) return
  if (!whole) throw new GatewayError('overloaded', 'the upstream’s answer is too long for what was asked')
  const thing = objectOf(Buffer.concat([...reader.ready, ...reader.held]).toString('utf8'))
  const told = thing ? format.toldIn(thing, endpoint.kind) : []
  const begun = format.begunBy?.(head.headers)
  if (begun) told.push({ kind: 'upload', id: begun.id })
  // Of what was there already only the others that it names can be new.
  const news = (isNew ? told : told.slice(1)).map((one) => ({ ...one, lifetimeMs: format.lifetimesMs[one.kind] }))
  await keepObjects(gateway, call, serving.account.id, news, isNew)
  if (begun) answer.head = { ...head, headers: { ...head.headers, [begun.header]: origin + call.path + begun.query } }
  const addressed = thing && format.addressed?.(thing, origin)
  if (!addressed || addressed === thing) return
  reader.ready = []
  reader.held = [Buffer.from(JSON.stringify(addressed))]
}

async function drop({ store }: Gateway, { heldAt }: Call, id: string): Promise<void> {
  if (heldAt !== null) await store.objects.drop({ accountId: heldAt, id })
}

async function relay(gateway: Gateway, { call, client, stoppable }: ObjectRequest, answer: GoodAnswer): Promise<void> {
  call.releaseBody()
  using relay = new Relay(gateway, call, answer, client)
  stoppable.add((reason) => relay.stop(reason))
  await relay.finish(await relay.run())
}

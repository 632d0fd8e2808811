import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderName } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import { objectOf } from '../protocols/loose-json.ts'
import type { Named } from '../protocols/named-objects.ts'
import type { ObjectEndpoint, ObjectFormat } from '../protocols/objects.ts'
import { homeOfFiles, keepObjects, originOf, whereItLies } from './account-objects.ts'
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
import { readCall } from './read-call.ts'
import { Relay } from './relay.ts'
import { Stoppable } from './stoppable.ts'
import { UpstreamRefusal } from './upstream-refusal.ts'

/** Of one key. */
const REQUESTS_PER_MINUTE = 600

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
    await requireRate(gateway, call.caller, 'ask for files and the like', REQUESTS_PER_MINUTE)
    await requireQuota(gateway, call.caller)
    if (endpoint.unmetered) requireMayBeUnmetered(gateway, call)
    if (endpoint.does === 'list') await listObjects(gateway, call, format, endpoint, client)
    else await answer(gateway, call, format, endpoint, client, segment)
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

async function answer(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  endpoint: ObjectEndpoint,
  client: ClientAnswer,
  segment: string,
): Promise<void> {
  const id = idIn(call, format, endpoint, segment)
  const named = id === null ? [] : [{ field: endpoint.kind, id }]
  call.heldAt = await whereItLies(gateway, call, [...named, ...namedIn(call, format, endpoint)])
  const accounts = call.heldAt === null ? await inOrder(gateway, call) : requireCandidates(gateway, call).candidates
  const dueMs = (serving: ServingAccount) => call.arrivedMs + deadlineMs(gateway, serving, 'answerMs')
  using stoppable = new Stoppable(gateway, client)
  const isDeleted = endpoint.does === 'delete' && id !== null
  let answer: GoodAnswer
  try {
    answer = await askFreely(gateway, call, stoppable, accounts, dueMs)
  } catch (error) {
    const isGone = error instanceof UpstreamRefusal && error.status === 404
    if (isGone && isDeleted) await drop(gateway, call, id)
    throw error
  }
  try {
    if (endpoint.tells) await takeIn(gateway, call, format, endpoint, answer)
    if (isDeleted) await drop(gateway, call, id)
    await relay(gateway, call, client, stoppable, answer)
  } finally {
    answer.exchange.cancel('over')
  }
}

/** What the path names, or an upload that the query goes on with; null where something new is made. */
function idIn({ query }: Call, format: ObjectFormat, { kind, path }: ObjectEndpoint, segment: string): string | null {
  if (path.includes('*')) return format.idOf(kind, segment)
  return format.continuedBy?.(new URLSearchParams(query)) ?? null
}

/** What the body of a thing to be made names; those of files are the users' own. */
function namedIn({ body, method }: Call, { namedIn }: ObjectFormat, { kind, does }: ObjectEndpoint): Named[] {
  const isContent = kind === 'file' || kind === 'upload'
  return does === 'make' && method === 'POST' && !isContent && body ? namedIn(body) : []
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
 * `overloaded` for an answer that is too long for one of these.
 */
async function takeIn(
  gateway: Gateway,
  call: Call,
  format: ObjectFormat,
  { kind, does }: ObjectEndpoint,
  answer: GoodAnswer,
): Promise<void> {
  const { head, reader, whole, serving } = answer
  if (!whole) throw new GatewayError('overloaded', 'the upstream’s answer is too long for what was asked')
  const thing = objectOf(Buffer.concat([...reader.ready, ...reader.held]).toString('utf8'))
  const told = thing ? format.toldIn(thing, kind) : []
  const begun = format.begunBy?.(head.headers)
  if (begun) told.push({ kind: 'upload', id: begun.id })
  // Of what was there already only the others that it names can be new.
  await keepObjects(gateway, call, serving.account.id, does === 'make' ? told : told.slice(1))
  if (begun) answer.head = { ...head, headers: { ...head.headers, [begun.header]: originOf(call) + begun.path } }
  const addressed = thing && format.addressed?.(thing, originOf(call))
  if (!addressed || addressed === thing) return
  reader.ready = []
  reader.held = [Buffer.from(JSON.stringify(addressed))]
}

async function drop({ store }: Gateway, { heldAt }: Call, id: string): Promise<void> {
  if (heldAt !== null) await store.objects.drop({ accountId: heldAt, id })
}

async function relay(
  gateway: Gateway,
  call: Call,
  client: ClientAnswer,
  stoppable: Stoppable,
  answer: GoodAnswer,
): Promise<void> {
  call.releaseBody()
  using relay = new Relay(gateway, call, answer, client)
  stoppable.add((reason) => relay.stop(reason))
  await relay.finish(await relay.run())
}

import type { ProtocolName } from '../domain/call.ts'
import { type GatewayError, isGatewayError } from '../domain/errors.ts'
import { newForeignId } from '../lib/id.ts'
import { withValueAt } from '../lib/json-scan.ts'
import { mayHoldForeignSignature } from '../protocols/foreign-signature.ts'
import { protocols } from '../protocols/index.ts'
import type { AnswerEdit, CallFacts, Headers, Protocol, RenderedError } from '../protocols/protocol.ts'
import { type Translation, translate } from '../protocols/translation.ts'
import type { Forwarded } from '../providers/provider.ts'
import type { Call } from './call.ts'
import type { ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'

/**
 * How a call and an account understand each other. Mostly they speak the same format, and bytes pass as they are; else the call is translated
 * there and its answer back, by two codecs that know nothing of each other.
 */
export interface Wire {
  /** The format that the account is asked in, and that it answers in. */
  protocol: Protocol
  forwarded: Forwarded
  body: Buffer | null
  /** Names of what the account's format, or its upstream, has no place for. */
  dropped: readonly string[]
  /** The client gets a stream of events. */
  clientStreams(upstreamStreams: boolean): boolean
  /** For one answer. */
  editFor(upstreamStreams: boolean): AnswerEdit | null
  /** What the upstream says of a request that it refuses, for the client; null: as it says it. */
  refusal(status: number, body: Buffer): RenderedError | null
}

/** Whether the account can be asked for this: an answer in any format, all else only in the call's own. */
export function canServe({ provider, account }: ServingAccount, { protocol, operation }: Call): boolean {
  return operation === 'messages' || provider.speaks(account).includes(protocol.name)
}

/** What the call says has no place in the account's format: the refusal names it. Another account may speak another one. */
export interface Unfit {
  unfit: GatewayError
}

/** Throws what the call's `copyFor` throws. */
export function wireTo(gateway: Gateway, call: Call, serving: ServingAccount, upstreamModel: string): Wire | Unfit {
  const { provider, account } = serving
  const { facts, protocol, operation } = call
  const spoken = provider.speaks(account)
  const isNative = spoken.includes(protocol.name)
  const mustGather = isNative && operation === 'messages' && !facts.stream && provider.alwaysStreams?.(account)
  if (isNative && !mustGather && !bringsForeignThoughts(gateway, call, serving)) return nativeWire(call, upstreamModel)
  return translatedWire(call, serving, isNative ? protocol.name : (spoken[0] as ProtocolName), upstreamModel)
}

/**
 * The conversation has been with an account whose signatures this one's vendor refuses. They are left out on the way through the codec, which is paired with itself
 * then. Looked for only where a group has accounts of several vendors.
 */
function bringsForeignThoughts(
  { directory }: Gateway,
  { body, caller, operation }: Call,
  { provider }: ServingAccount,
): boolean {
  if (body === null || operation !== 'messages') return false
  const hasOthers = directory
    .poolsOf(caller.group.id)
    .some(({ accounts }) => accounts.some((one) => one.provider !== provider))
  return hasOthers && mayHoldForeignSignature(body)
}

/** Asks on without thoughts that the account cannot read. False if there are none, or no more. */
export function leaveThoughtsOut({ body, protocol, leftOut, leaveOut }: Call): boolean {
  if (body === null || leftOut.includes(THOUGHTS)) return false
  const without = protocol.withoutThoughts?.(body)
  if (without) leaveOut(THOUGHTS, without)
  return Boolean(without)
}

const THOUGHTS = 'reasoning'

function nativeWire(call: Call, upstreamModel: string): Wire {
  const { protocol, facts, headers, query, method, path, id } = call
  return {
    protocol,
    forwarded: { protocol: protocol.name, headers, query, method, path, model: upstreamModel, callId: id },
    body: bodyOf(call, upstreamModel),
    dropped: call.leftOut,
    clientStreams: (upstreamStreams) => upstreamStreams,
    editFor: (upstreamStreams) => protocol.answerEdit(facts, upstreamModel, upstreamStreams),
    refusal: () => null,
  }
}

/** As it came, but for the model's name where the account is asked for another one, and what its format asks for besides. */
function bodyOf({ body, facts, protocol, copyFor }: Call, upstreamModel: string): Buffer | null {
  if (body === null) return null
  const isRenamed = (facts.modelAt !== null || facts.withModel) && upstreamModel !== facts.requestedModel
  if (!isRenamed && !protocol.askedBody) return body
  return copyFor(`native ${upstreamModel}`, () => {
    const named = isRenamed ? withModel(facts, body, upstreamModel) : body
    return protocol.askedBody?.(facts, named) ?? named
  })
}

function withModel(facts: CallFacts, body: Buffer, model: string): Buffer {
  if (facts.withModel) return facts.withModel(body, model)
  return facts.modelAt ? withValueAt(body, facts.modelAt, model) : body
}

/** What a client says of itself goes on; what it says of its own format does not. */
const PASSED_HEADERS = ['user-agent'] as const

function translatedWire(
  call: Call,
  { provider }: ServingAccount,
  name: ProtocolName,
  upstreamModel: string,
): Wire | Unfit {
  const { facts, id } = call
  const protocol = protocols[name]
  const { body } = call
  if (body === null) throw new Error(`bug: ${id} is asked for after its answer has begun`)
  const target = { model: upstreamModel, vendor: provider.signedBy(upstreamModel) }
  const translation = call.copyFor(`${name} ${target.vendor} ${target.model}`, () =>
    unlessUnfit(() =>
      translate({ client: call.protocol.codec, upstream: protocol.codec }, { body, path: call.path }, target, {
        model: facts.requestedModel,
        nowMs: call.arrivedMs,
        newId: newForeignId,
      }),
    ),
  )
  if ('unfit' in translation) return translation
  const isSameFormat = name === call.protocol.name
  return {
    protocol,
    forwarded: {
      protocol: name,
      headers: isSameFormat ? call.headers : headersFor(call),
      query: isSameFormat ? call.query : '',
      model: upstreamModel,
      stream: facts.stream,
      callId: id,
    },
    body: translation.body,
    dropped: [...call.leftOut, ...translation.dropped],
    clientStreams: () => facts.stream,
    editFor: (upstreamStreams) => editOf(translation, upstreamStreams, facts.stream),
    refusal: (status, body) => translation.error(status, body, id),
  }
}

function unlessUnfit<T>(make: () => T): T | Unfit {
  try {
    return make()
  } catch (error) {
    if (isGatewayError(error, 'invalid_request')) return { unfit: error }
    throw error
  }
}

function headersFor({ headers, facts }: Call): Headers {
  const own: Record<string, string> = {
    'content-type': 'application/json',
    accept: facts.stream ? 'text/event-stream' : 'application/json',
  }
  for (const name of PASSED_HEADERS) if (typeof headers[name] === 'string') own[name] = headers[name]
  return own
}

function editOf(translation: Translation, upstream: boolean, client: boolean): AnswerEdit {
  const answer = translation.answer({ upstream, client })
  return Object.assign((bytes: Buffer) => answer.push(bytes), { end: () => answer.end() })
}

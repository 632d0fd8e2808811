import type { Answer } from '../../test/support/client.ts'
import { STAMP } from './chaos-plan.ts'

/** What one client got to one call. */
export interface Answered extends AnswerReading {
  name: string
  /** Which start of the gateway it asked. */
  life: number
  /** Unix ms. */
  startedMs: number
  endedMs: number
  asks: 'message' | 'token count'
  streams: boolean
  left: boolean
  stoppedReading: boolean
}

export interface AnswerReading {
  /** 0 = no head came. */
  status: number
  callId: string | null
  /** As what it came: events, or a body. */
  isStream: boolean
  /** How it ended as far as it can be read: as its protocol says, with an error, or neither. */
  end: 'complete' | 'error' | null
  /** The connection broke before the answer said that it was whole. */
  cut: boolean
  /** Of a complete message. */
  usage: SeenUsage | null
  /** What is wrong with it, whatever happened around it: bytes of another call, an event twice, something behind its end. */
  flaws: string[]
}

export interface SeenUsage {
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
}

/** Reads an answer as a careful client would. */
export function readAnswer(name: string, { status, headers, text, ended }: Answer): AnswerReading {
  const isStream = String(headers['content-type'] ?? '').includes('text/event-stream')
  const cut = ended === 'cut'
  const callId = headers['x-subgate-call-id']
  const base = { status, callId: typeof callId === 'string' ? callId : null, isStream, cut }
  if (status === 0) return { ...base, end: null, usage: null, flaws: [] }
  const read = isStream ? readEvents(text, cut) : readBody(text, status, cut)
  return { ...base, ...read, flaws: [...read.flaws, ...stampFlaws(name, text, read.usage !== null)] }
}

type Read = Pick<AnswerReading, 'end' | 'usage' | 'flaws'>

function readEvents(text: string, cut: boolean): Read {
  const events = text.split('\n\n')
  const torn = events.pop()
  const flaws: string[] = []
  if (torn && !cut) flaws.push('it ends inside an event')
  let end: Read['end'] = null
  let usage: SeenUsage | null = null
  for (const event of events) {
    const [, kind, data] = /^event: (\S+)\ndata: (.*)$/s.exec(event) ?? []
    if (kind === undefined || data === undefined) {
      flaws.push(`it holds what is no event: ${JSON.stringify(event.slice(0, 100))}`)
      continue
    }
    if (end) flaws.push(`'${kind}' comes behind its end`)
    if (kind === 'message_start' && usage) flaws.push('it starts twice')
    if (kind === 'message_start') usage = withUsage(usage, JSON.parse(data).message.usage)
    if (kind === 'message_delta') usage = withUsage(usage, JSON.parse(data).usage)
    if (kind === 'message_stop') end = 'complete'
    if (kind === 'error') end = 'error'
  }
  return { end, usage: end === 'complete' ? usage : null, flaws }
}

function readBody(text: string, status: number, cut: boolean): Read {
  if (cut) return { end: null, usage: null, flaws: [] }
  if (status !== 200) return { end: 'error', usage: null, flaws: [] }
  try {
    const message = JSON.parse(text)
    return { end: 'complete', usage: message.usage ? withUsage(null, message.usage) : null, flaws: [] }
  } catch {
    return {
      end: null,
      usage: null,
      flaws: [`its body is no JSON, but says that it is whole: ${JSON.stringify(text.slice(0, 100))}`],
    }
  }
}

function withUsage(before: SeenUsage | null, usage: Record<string, number | undefined>): SeenUsage {
  return {
    inputTokens: usage.input_tokens ?? before?.inputTokens ?? 0,
    outputTokens: usage.output_tokens ?? before?.outputTokens ?? 0,
    cacheReadTokens: usage.cache_read_input_tokens ?? before?.cacheReadTokens ?? 0,
  }
}

/** Each piece of text must be this call's, from one upstream call, in order, and of a whole message none may be missing. */
function stampFlaws(name: string, text: string, isWholeMessage: boolean): string[] {
  let last: { upstreamCall: string; piece: number; pieces: number } | null = null
  for (const [, owner, upstreamCall = '', piece, pieces] of text.matchAll(STAMP)) {
    if (owner !== name) return [`it holds bytes of the call ${owner}`]
    if (last && last.upstreamCall !== upstreamCall) return ['it holds bytes of two upstream calls']
    if (Number(piece) !== (last ? last.piece + 1 : 0)) return [`its piece ${piece} comes at the wrong place`]
    last = { upstreamCall, piece: Number(piece), pieces: Number(pieces) }
  }
  const isMissing = isWholeMessage && last?.piece !== (last?.pieces ?? 0) - 1
  return isMissing ? ['the end of its text is missing'] : []
}

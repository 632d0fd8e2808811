import type { Usage } from '../domain/usage.ts'

/**
 * The neutral conversation: what the wire formats can say, once. Each protocol has a codec to and from it, and a pair of formats that
 * differ is two codecs, one after the other. A native pair never comes here: its bytes pass.
 *
 * Two rules keep it small. What only one format knows stays in its codec (and is named as dropped when it is left out). And where
 * formats differ in the place of a thing, it has one place here: a tool's result is a block of the next user turn, a signature belongs to
 * a reasoning block, and a signature that a vendor put on something else is a reasoning block without words just before it.
 */
export interface NeutralRequest {
  model: string
  stream: boolean
  /** The operator's words before the conversation, in order. */
  system: string[]
  turns: Turn[]
  /** No two have the same namespace and name. */
  tools: Tool[]
  /** Null: not said, which every vendor takes for `auto`. */
  toolChoice: ToolChoice | null
  /** Null: not said. */
  parallelToolCalls: boolean | null
  maxOutputTokens: number | null
  temperature: number | null
  topP: number | null
  topK: number | null
  seed: number | null
  stopSequences: string[]
  reasoning: ReasoningWish | null
  outputFormat: OutputFormat | null
  verbosity: 'low' | 'medium' | 'high' | null
  /** What names the conversation to a vendor's cache. */
  cacheKey: string | null
  /** explicit: the client marks what may be cached · implicit: its vendor does so by itself, and the client counts on it. */
  caching: 'explicit' | 'implicit'
}

/** One after the other the same role may speak twice: who needs turns to alternate merges them. */
export type Turn =
  | { role: 'system'; content: TextBlock[] }
  | { role: 'user'; content: UserBlock[] }
  | { role: 'assistant'; content: AssistantBlock[] }

export type UserBlock = TextBlock | MediaBlock | ToolResultBlock
export type AssistantBlock = TextBlock | ReasoningBlock | ToolCallBlock | MediaBlock

/** Never empty: who finds an empty text leaves it out. */
export interface TextBlock {
  kind: 'text'
  text: string
}

/** An image, a document or a sound: bytes in base64, or where they are. */
export interface MediaBlock {
  kind: 'media'
  /** `image/png`, `application/pdf`, `audio/wav`, `text/plain`. Null: a vendor has to find out, by its URL. */
  mediaType: string | null
  source: { kind: 'base64'; data: string } | { kind: 'url'; url: string }
  /** Of a document. */
  name: string | null
  /** How closely an image is to be looked at. */
  detail: 'low' | 'high' | 'auto' | null
}

/**
 * Whose models can read a signature again; every other vendor refuses it. antigravity: Google's service for Claude, which
 * neither reads Anthropic's own nor makes signatures that Anthropic reads.
 */
export const SIGNATURE_VENDORS = ['anthropic', 'openai', 'gemini', 'antigravity'] as const
export type SignatureVendor = (typeof SIGNATURE_VENDORS)[number]

export interface Signature {
  vendor: SignatureVendor
  value: string
}

/** What a model thought. Its words may be empty, hidden or a summary; its signature lets the vendor read it again. */
export interface ReasoningBlock {
  kind: 'reasoning'
  text: string
  signature: Signature | null
  /** The vendor hid the words (Anthropic's `redacted_thinking`): there is only the signature. */
  redacted: boolean
}

export interface ToolCallBlock {
  kind: 'tool_call'
  id: string
  /** Null: in none. */
  namespace: string | null
  name: string
  tool: 'function' | 'custom'
  /** Of a function its arguments as JSON text (perhaps cut off, and then no JSON), of a custom tool its free text. */
  input: string
}

export interface ToolResultBlock {
  kind: 'tool_result'
  callId: string
  content: (TextBlock | MediaBlock)[]
  isError: boolean
}

export type JsonObject = { [key: string]: unknown }

export type Tool = FunctionTool | CustomTool | HostedTool

export interface FunctionTool {
  kind: 'function'
  namespace: string | null
  name: string
  description: string | null
  /** A JSON Schema of type object. */
  parameters: JsonObject
  strict: boolean | null
  /** It is not shown to the model until the model has looked for it. */
  deferred: boolean
}

/** Takes free text. */
export interface CustomTool {
  kind: 'custom'
  namespace: string | null
  name: string
  description: string | null
  /** A grammar, as OpenAI writes it; null = any text. */
  format: JsonObject | null
}

/** Run by the vendor itself, such as `web_search`; `settings` as its own format writes it. */
export interface HostedTool {
  kind: 'hosted'
  name: string
  settings: JsonObject
}

export type ToolChoice =
  | { kind: 'auto' }
  | { kind: 'none' }
  /** Some tool has to be called. */
  | { kind: 'any' }
  | { kind: 'tool'; namespace: string | null; name: string }

export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export type Effort = (typeof EFFORTS)[number]

export interface ReasoningWish {
  /** Null: not said. */
  effort: Effort | null
  /** Tokens to think with at most; null = not said. */
  budgetTokens: number | null
  /** Whether the thoughts' words are wanted in the answer; null = not said. */
  shown: boolean | null
}

export type OutputFormat =
  | { kind: 'json' }
  | { kind: 'json_schema'; name: string | null; schema: JsonObject; strict: boolean | null }

export interface Stop {
  reason: 'end' | 'max_tokens' | 'context_full' | 'stop_sequence' | 'tool_use' | 'refusal' | 'pause'
  /** The one that was met. */
  sequence: string | null
}

export interface NeutralAnswer {
  /** As the upstream named it; empty = it did not. */
  id: string
  /** As the upstream named it. */
  model: string
  content: AssistantBlock[]
  stop: Stop
  usage: Usage
}

/**
 * A streamed answer: `start`, then blocks one after the other (`open`, any number of `delta`, `signature` of a reasoning block, `close`),
 * then `finish`, or at any moment `error`. Nothing follows either.
 */
export type NeutralEvent =
  | { type: 'start'; id: string; model: string; usage: Usage | null }
  | { type: 'open'; block: OpenBlock }
  /** More of the open block: words, or of a call its input. */
  | { type: 'delta'; text: string }
  | { type: 'signature'; signature: Signature }
  | { type: 'close' }
  | { type: 'finish'; stop: Stop; usage: Usage }
  | { type: 'error'; error: NeutralError }

export type OpenBlock =
  | { kind: 'text' }
  | { kind: 'reasoning'; redacted: boolean }
  | Omit<ToolCallBlock, 'input'>
  /** Whole at once. */
  | MediaBlock

export const ERROR_KINDS = [
  'bad_request',
  /** The prompt is longer than the model takes. */
  'too_long',
  'forbidden',
  'not_found',
  'too_large',
  'rate_limit',
  /** Money or a quota has run out. */
  'funds',
  'overloaded',
  'internal',
] as const
export type ErrorKind = (typeof ERROR_KINDS)[number]

/** What an upstream says of a request that it refuses, or of an answer that it breaks off. */
export interface NeutralError {
  kind: ErrorKind
  /** The upstream's words. */
  message: string
}

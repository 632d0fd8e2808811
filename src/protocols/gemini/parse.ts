import type { ScannedObject } from '../../lib/json-scan.ts'
import { type Beginning, CONVERSATION_FIELDS, conversationOf } from '../conversation.ts'
import { isObject } from '../loose-json.ts'
import type { CallFacts, Headers } from '../protocol.ts'
import { scanRequest } from '../request-facts.ts'
import { geminiNamed } from './named.ts'
import { isEventStream, parseGeminiPath } from './path.ts'

/** Google takes both spellings of every name. */
const ROUTING_KEYS: ReadonlySet<string> = new Set([
  'contents',
  'systemInstruction',
  'system_instruction',
  'generationConfig',
  'generation_config',
  ...CONVERSATION_FIELDS,
])

/** One for each installation of Gemini CLI: no session, but it keeps those apart that begin with the same words. */
const INSTALLATION = 'x-gemini-api-privileged-user-id'

/** The model and the method stand in the path; of the body only what routing needs is parsed. */
export function parseGemini(headers: Headers, body: Buffer, path: string): CallFacts {
  const asked = parseGeminiPath(path)
  const keys = scanRequest(body, ROUTING_KEYS)
  const config = (keys.value('generationConfig') ?? keys.value('generation_config')) as
    | { maxOutputTokens?: unknown; max_output_tokens?: unknown }
    | null
    | undefined
  const maxTokens = config?.maxOutputTokens ?? config?.max_output_tokens
  return {
    requestedModel: asked.model,
    modelAt: null,
    stream: isEventStream(asked),
    maxOutputTokens: Number.isSafeInteger(maxTokens) && (maxTokens as number) >= 0 ? (maxTokens as number) : null,
    named: geminiNamed.nested(body),
    conversation: () =>
      conversationOf(
        headers,
        (field) => keys.value(field),
        () => beginningOf(headers, keys),
      ),
  }
}

/** With the installation of Gemini CLI in place of the system text, which it changes within a conversation. */
function beginningOf(headers: Headers, keys: ScannedObject): Beginning | null {
  const contents = keys.value('contents')
  if (!Array.isArray(contents)) return null
  const first = contents.find((content) => isObject(content) && (content.role ?? 'user') === 'user')
  if (!first) return null
  const installation = headers[INSTALLATION]
  const system = keys.value('systemInstruction') ?? keys.value('system_instruction')
  return { system: typeof installation === 'string' ? [installation] : textsOf(system), firstUser: textsOf(first) }
}

function textsOf(content: unknown): string[] {
  const parts = (content as { parts?: unknown } | null | undefined)?.parts
  if (!Array.isArray(parts)) return []
  return parts.flatMap((part) => (typeof part?.text === 'string' ? [part.text] : []))
}

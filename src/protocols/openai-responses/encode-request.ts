import type { EncodedRequest, Target } from '../codec.ts'
import { badField } from '../fields.ts'
import type { JsonObject, NeutralRequest, OutputFormat, ReasoningWish } from '../neutral.ts'
import { Dropped } from '../openai/dropped.ts'
import { effortOf, jsonSchemaOut } from '../openai/settings.ts'
import { COMMON_NAMES, ToolNames } from '../tool-names.ts'
import { encodeInput } from './encode-input.ts'
import { encodeToolChoice, encodeTools } from './encode-tools.ts'

/** Less is refused. */
const OUTPUT_TOKENS_MIN = 16

export function encodeResponsesRequest(request: NeutralRequest, { model, vendor }: Target): EncodedRequest {
  const dropped = new Dropped()
  const names = new ToolNames(request.tools, COMMON_NAMES)
  if (request.stopSequences.length > 0) {
    throw badField('stop_sequences', "OpenAI's Responses cannot stop at a sequence")
  }
  if (request.topK !== null) dropped.add('top_k')
  if (request.seed !== null) dropped.add('seed')
  const { maxOutputTokens, temperature, topP, cacheKey, reasoning } = request
  if (maxOutputTokens !== null && maxOutputTokens < OUTPUT_TOKENS_MIN)
    dropped.add(`max_tokens below ${OUTPUT_TOKENS_MIN}`)
  const body = {
    model,
    stream: request.stream,
    input: encodeInput(request, vendor, names, dropped),
    ...(request.tools.length > 0 && {
      tools: encodeTools(request.tools, names),
      tool_choice: encodeToolChoice(request, names),
      ...(request.parallelToolCalls !== null && { parallel_tool_calls: request.parallelToolCalls }),
    }),
    ...(maxOutputTokens !== null && { max_output_tokens: Math.max(OUTPUT_TOKENS_MIN, maxOutputTokens) }),
    ...(temperature !== null && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(reasoning !== null && thinking(reasoning)),
    ...textSettings(request),
    ...(cacheKey !== null && { prompt_cache_key: cacheKey }),
    store: false,
  }
  return { body: Buffer.from(JSON.stringify(body)), dropped: dropped.names, names }
}

/** Without `store` reasoning is only known again by what was encrypted, which models that do not think refuse to send. */
function thinking(wish: ReasoningWish): JsonObject {
  const effort = effortOf(wish)
  const reasoning = { ...(effort !== null && { effort }), ...(wish.shown && { summary: 'auto' }) }
  return { reasoning, ...(effort !== 'none' && { include: ['reasoning.encrypted_content'] }) }
}

function textSettings({ outputFormat, verbosity }: NeutralRequest): JsonObject {
  if (outputFormat === null && verbosity === null) return {}
  return {
    text: { ...(outputFormat && { format: formatOf(outputFormat) }), ...(verbosity !== null && { verbosity }) },
  }
}

function formatOf(format: OutputFormat): JsonObject {
  return format.kind === 'json' ? { type: 'json_object' } : { type: 'json_schema', ...jsonSchemaOut(format) }
}

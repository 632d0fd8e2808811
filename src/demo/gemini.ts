import { data } from './chat.ts'
import type { FakeMessage, FakeUsage } from './messages.ts'

/** Builds answers in Gemini's format, in the chunks and the order in which the real service sends them. */

/** The whole stream, one object per chunk. */
export function geminiChunks(message: FakeMessage, id: string): object[] {
  const { text, toolUse, usage } = message
  const parts: object[] = text.map((piece) => ({ text: piece }))
  if (toolUse) {
    const { id: callId, name, input } = toolUse
    parts.push({ functionCall: { id: callId, name, args: input }, thoughtSignature: 'c2lnbmF0dXJl' })
  }
  if (parts.length === 0) parts.push({ text: '' })
  return parts.map((part, index) => {
    const isLast = index === parts.length - 1
    const finishReason = isLast ? { finishReason: finishReasonOf(message) } : {}
    return {
      candidates: [{ content: { role: 'model', parts: [part] }, ...finishReason, index: 0 }],
      usageMetadata: usageOf({ ...usage, output: isLast ? usage.output : 0 }),
      modelVersion: message.model,
      responseId: id,
    }
  })
}

/** The same message as one answer. */
export function geminiAnswer(message: FakeMessage, id: string): object {
  const { text, toolUse, usage, model } = message
  const parts: object[] = text.length > 0 ? [{ text: text.join('') }] : []
  if (toolUse) {
    const { id: callId, name, input } = toolUse
    parts.push({ functionCall: { id: callId, name, args: input }, thoughtSignature: 'c2lnbmF0dXJl' })
  }
  return {
    candidates: [{ content: { role: 'model', parts }, finishReason: finishReasonOf(message), index: 0 }],
    usageMetadata: usageOf(usage),
    modelVersion: model,
    responseId: id,
  }
}

export function geminiErrorBody(code: number, status: string, message: string): string {
  return JSON.stringify({ error: { code, message, status } })
}

/** With `alt=sse` a stream of events, without it a JSON array that grows; one string per chunk. */
export function geminiStream(chunks: readonly object[], sse: boolean): string[] {
  if (sse) return chunks.map(data)
  const text = chunks.map((chunk, index) => `${index === 0 ? '[' : ','}${JSON.stringify(chunk)}\r\n`)
  return [...text, ']']
}

function finishReasonOf({ stopReason }: FakeMessage): string {
  return stopReason === 'max_tokens' ? 'MAX_TOKENS' : 'STOP'
}

/** Cached tokens stand inside of the prompt, thoughts beside the candidates. */
function usageOf({ input, output, cacheRead = 0, thinking = 0 }: FakeUsage) {
  const promptTokenCount = input + cacheRead
  return {
    promptTokenCount,
    ...(cacheRead > 0 && { cachedContentTokenCount: cacheRead }),
    candidatesTokenCount: output - thinking,
    ...(thinking > 0 && { thoughtsTokenCount: thinking }),
    totalTokenCount: promptTokenCount + output,
  }
}

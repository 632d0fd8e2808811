import type { Protocol } from '../protocol.ts'
import { geminiCodec } from './codec.ts'
import { geminiAnswerEdit } from './edit.ts'
import { renderGeminiError, renderGeminiStreamError } from './errors.ts'
import { renderGeminiModel, renderGeminiModels } from './models.ts'
import { parseGemini } from './parse.ts'
import { geminiMeter } from './usage.ts'

/** Gemini CLI takes a comment for a broken answer; to every client of this format a blank line is nothing. */
const BLANK_LINES = Buffer.from('\n\n')

/** Google's Gemini API: Gemini CLI and the Google GenAI SDKs. */
export const gemini: Protocol = {
  name: 'gemini',
  parse: parseGemini,
  usageMeter: geminiMeter,
  answerEdit: geminiAnswerEdit,
  keepAlive: () => BLANK_LINES,
  renderError: renderGeminiError,
  renderStreamError: renderGeminiStreamError,
  limitHeaders: () => ({}),
  renderModels: renderGeminiModels,
  renderModel: renderGeminiModel,
  codec: geminiCodec,
}

import { elementPlaces } from '../../lib/json-scan.ts'
import { modelEdit } from '../model-edit.ts'
import type { AnswerEdit, CallFacts } from '../protocol.ts'

/** Every chunk names the model; a stream without events is an array of them. */
export function geminiAnswerEdit(
  { requestedModel }: CallFacts,
  upstreamModel: string,
  stream: boolean,
): AnswerEdit | null {
  const edit = modelEdit(upstreamModel, requestedModel, stream, { holder: null, once: false, key: 'modelVersion' })
  if (!edit || stream) return edit
  return (body) => {
    const places = elementPlaces(body)
    if (!places) return edit(body)
    let from = 0
    let isEdited = false
    const pieces = places.flatMap(([start, end]) => {
      const chunk = body.subarray(start, end)
      const edited = edit(chunk)
      const before = body.subarray(from, start)
      from = end
      isEdited ||= edited !== chunk
      return [before, edited]
    })
    return isEdited ? Buffer.concat([...pieces, body.subarray(from)]) : body
  }
}

import { finderOf, manyIds, oneId, oneIdUnless } from '../named-objects.ts'

/** What an answer quotes: whoever sends it back asks for no file by it. */
const QUOTES: ReadonlySet<string> = new Set(['file_citation', 'container_file_citation', 'file_path'])

/** Files that a request to OpenAI names. */
export const openaiNamed = finderOf({
  file_id: oneIdUnless((type) => QUOTES.has(type)),
  file_ids: manyIds,
  input_file_id: oneId,
})

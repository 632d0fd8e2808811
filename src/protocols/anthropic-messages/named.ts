import { finderOf, idOrHolder, oneId } from '../named-objects.ts'

/** Fields of free form. */
const FREE: ReadonlySet<string> = new Set(['input_schema', 'input_examples', 'schema', 'metadata', 'citations'])

/**
 * Files that a request to Anthropic names, and containers, in which code of an earlier call has run. What a tool was called with is a user's own; what
 * Anthropic's own tools have put out in an earlier turn (`bash_code_execution_tool_result`) asks for nothing.
 */
export const anthropicNamed = finderOf({
  hint: /file_id/,
  idsOf(field, value, _holder, within) {
    if (field === 'file_id') return oneId(value)
    return field === 'container' && (within === '' || within === 'params') ? idOrHolder(value) : []
  },
  isFree(field, { type }) {
    if (FREE.has(field)) return true
    if (typeof type !== 'string') return false
    return (field === 'input' && type.endsWith('tool_use')) || (field === 'content' && type.endsWith('_tool_result'))
  },
})

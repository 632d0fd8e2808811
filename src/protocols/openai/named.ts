import { isObject } from '../loose-json.ts'
import { finderOf, idOrHolder, manyIds, oneId } from '../named-objects.ts'

/** Fields of free form, and what answers quote. */
const FREE: ReadonlySet<string> = new Set(['parameters', 'schema', 'metadata', 'attributes', 'annotations', 'filters'])

/** Where a request begins: the body, or in a batch's file what stands in each line as such. */
const TOPS: ReadonlySet<string> = new Set(['', 'body'])

/**
 * Files that a request to OpenAI names, stored answers, conversations, and items of them. An item may be named by its id alone, without a type.
 */
export const openaiNamed = finderOf({
  hint: /file_id|item_reference|\{\s*"id"\s*:\s*"[^"]*"\s*\}|"type"\s*:\s*null/,
  idsOf(field, value, _holder, within) {
    switch (field) {
      case 'file_id':
      case 'input_file_id':
        return oneId(value)
      case 'file_ids':
        return manyIds(value)
      case 'previous_response_id':
        return TOPS.has(within) ? oneId(value) : []
      case 'conversation':
        return TOPS.has(within) ? idOrHolder(value) : []
      case 'input':
        return TOPS.has(within) && Array.isArray(value) ? value.flatMap(itemNamed) : []
      default:
        return []
    }
  },
  isFree: (field, { type }) => FREE.has(field) || (field === 'results' && type === 'file_search_call'),
})

/** The id of an item that stands for one which OpenAI keeps. */
function itemNamed(item: unknown): string[] {
  if (!isObject(item)) return []
  const isReference = item.type === 'item_reference' || ((item.type ?? null) === null && item.role === undefined)
  return isReference ? oneId(item.id) : []
}

/** The texts of a content, which is one text or a list of parts. */
export function textsIn(content: unknown): string[] {
  if (typeof content === 'string') return [content]
  if (!Array.isArray(content)) return []
  return content.flatMap((part) => (typeof part?.text === 'string' ? [part.text] : []))
}

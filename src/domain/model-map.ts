import { patternMatcher } from '../lib/pattern.ts'
import { GatewayError } from './errors.ts'

/** Upstream names of models, by what clients ask for: exact names, or patterns such as `claude-*`. */
export type ModelMap = Readonly<Record<string, string>>

/** A longer model name is not one. */
export const MODEL_CHARACTERS_MAX = 256
/** Of one account; its patterns are gone through for each call. */
const ENTRIES_MAX = 100

const WRITTEN = 'ASKED=SENT, such as claude-*=claude-sonnet-5-5'

/**
 * Tells what an account is sent for a model that a client asks for; null = it does not serve it. An exact name of the map
 * comes first, then the map's pattern with the most characters besides `*` (of equal ones the first), then the patterns
 * of models that are sent as they are asked for.
 */
export function upstreamModels(patterns: readonly string[], map: ModelMap): (requestedModel: string) => string | null {
  const serves = patternMatcher(patterns)
  const entries = Object.entries(map)
  if (entries.length === 0) return (model) => (serves(model) ? model : null)
  const exact = new Map(entries)
  const byPattern = entries
    .filter(([asked]) => isPattern(asked))
    .sort(([a], [b]) => charactersOf(b) - charactersOf(a))
    .map(([asked, sent]) => ({ fits: patternMatcher([asked]), sent }))
  return (model) =>
    exact.get(model) ?? byPattern.find(({ fits }) => fits(model))?.sent ?? (serves(model) ? model : null)
}

/** The models that a map names, and does not only describe. */
export function exactNames(map: ModelMap): string[] {
  return Object.keys(map).filter((asked) => !isPattern(asked))
}

function isPattern(asked: string): boolean {
  return asked.includes('*')
}

function charactersOf(pattern: string): number {
  return pattern.replaceAll('*', '').length
}

/** The map itself. Throws `invalid_request` for one that could not be meant. */
export function checkedModelMap(map: ModelMap): ModelMap {
  const entries = Object.entries(map)
  if (entries.length > ENTRIES_MAX) {
    throw new GatewayError('invalid_request', `a model map has at most ${ENTRIES_MAX} entries`)
  }
  for (const [asked, sent] of entries) {
    const wrong = [asked, sent].find((name) => !isName(name))
    if (wrong !== undefined) throw new GatewayError('invalid_request', `'${wrong}' is not the name of a model`)
    if (isPattern(sent)) {
      throw new GatewayError('invalid_request', `'${sent}' is a pattern, but '${asked}' has to be sent as one model`)
    }
  }
  return map
}

function isName(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text !== '' && text.length <= MODEL_CHARACTERS_MAX && !/[\s\u0000-\u001f\u007f]/.test(text)
}

/** One thing that an operator says of a map: an entry, one to take away (`sent` is null), or `clear` for all of them. */
export type ModelMapChange = { asked: string; sent: string | null } | 'clear'

/** Reads `claude-*=claude-sonnet-5-5`, `claude-*=none` or `none`. Throws `invalid_request`. */
export function parseModelMapChange(text: string): ModelMapChange {
  if (text === 'none') return 'clear'
  const [asked = '', sent = '', ...more] = text.split('=').map((part) => part.trim())
  if (asked === '' || sent === '' || more.length > 0) {
    throw new GatewayError('invalid_request', `'${text}' is not ${WRITTEN}`)
  }
  if (sent === 'none') return { asked, sent: null }
  checkedModelMap({ [asked]: sent })
  return { asked, sent }
}

/** A map after these changes, one after the other. */
export function changedModelMap(before: ModelMap, changes: readonly ModelMapChange[]): ModelMap {
  const map = new Map(Object.entries(before))
  for (const change of changes) {
    if (change === 'clear') map.clear()
    else if (change.sent === null) map.delete(change.asked)
    else map.set(change.asked, change.sent)
  }
  return Object.fromEntries(map)
}

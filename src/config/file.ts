import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isAlias, isMap, isNode, isScalar, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml'
import { nearest } from '../lib/pattern.ts'
import { type ConfigKey, configKeys } from './schema.ts'
import { isSub2apiKey } from './sub2api-keys.ts'
import { fileProblem, type Written } from './written.ts'

/** `config.yaml` is a common name: it is ours only if every top-level key is. */
export function looksLikeOurs(file: string): boolean {
  try {
    const contents = parseDocument(readFileSync(file, 'utf8')).contents
    const ours = new Set(configKeys().map((key) => key.path.split('.')[0]))
    return (
      isMap(contents) &&
      contents.items.length > 0 &&
      contents.items.every(
        (item) => isScalar(item.key) && (ours.has(String(item.key.value)) || isSub2apiKey(String(item.key.value))),
      )
    )
  } catch {
    return false
  }
}

/** The keys that a file sets. Whatever is wrong with it is added to the problems, with its line. */
export function readFileKeys(
  file: string,
  keys: readonly ConfigKey[],
  problems: string[],
  warnings: string[],
): Map<string, Written> {
  const found = new Map<string, Written>()
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (error) {
    problems.push(`${file}: ${fileProblem(error)}`)
    return found
  }
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines })
  const place = (offset: number) => `${file}:${lines.linePos(offset).line}`
  for (const error of document.errors) problems.push(`${place(error.pos[0])}: ${error.message.split('\n')[0]}`)
  const known = new Map(keys.map((key) => [key.path, key]))
  const sections = new Set(keys.flatMap((key) => parentsOf(key.path)))

  const visit = (node: YAMLMap, prefix: string): void => {
    for (const { key, value } of node.items) {
      const path = prefix + String(isScalar(key) ? key.value : key)
      const where = place((key as Node).range?.[0] ?? 0)
      const meant = isAlias(value) ? value.resolve(document) : value
      if (known.has(path)) {
        const written = isNode(meant) ? (meant.toJS(document) as unknown) : null
        if (written !== null) found.set(path, { value: written, place: where, folder: dirname(file) })
      } else if (sections.has(path)) {
        if (isMap(meant)) visit(meant, `${path}.`)
        else if (isNode(meant) && !(isScalar(meant) && meant.value === null)) {
          problems.push(`${where}: ${path} is a section, not a value`)
        }
      } else if (isSub2apiKey(path)) {
        warnings.push(`${where}: ${path} has no meaning in this version of subgate and is ignored`)
      } else {
        const similar = nearest(path, [...known.keys(), ...sections])
        problems.push(`${where}: unknown key ${path}${similar ? `; did you mean ${similar}?` : ''}`)
      }
    }
  }
  if (document.contents !== null && !isMap(document.contents))
    problems.push(`${file}:1: must be a mapping of keys to values`)
  if (isMap(document.contents)) visit(document.contents, '')
  return found
}

function parentsOf(path: string): string[] {
  const parts = path.split('.')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'))
}

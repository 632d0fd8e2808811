import { Session } from 'node:inspector'

/** A part that is looked into no further: it belongs to somebody else. */
const DEPTH_MAX = 6

interface Property {
  name: string
  value?: { type: string; subtype?: string; className?: string; objectId?: string; value?: unknown }
}

/**
 * How much is in each map, set and list of an object and of the parts of ours that it is made of, private ones too, by
 * path: `.#line.#byCall` → 2. What is empty is left out. Through the inspector, so that the code need not show it.
 */
export function privateSizes(root: object): Record<string, number> {
  const session = new Session()
  session.connect()
  const post = (method: string, params: object): { result: never; privateProperties?: never } => {
    let answer: unknown
    session.post(method, params, (error, result) => {
      if (error) throw error
      answer = result
    })
    return answer as never
  }
  const place = globalThis as { looked?: object }
  const sizes: Record<string, number> = {}
  const seen = new Set<unknown>()
  place.looked = root
  const look = (objectId: string, path: string, depth: number): void => {
    const answer = post('Runtime.getProperties', { objectId, ownProperties: true })
    const properties: Property[] = [
      ...(answer.result as Property[]),
      ...((answer.privateProperties ?? []) as Property[]),
    ]
    for (const { name, value } of properties) {
      if (value?.type !== 'object' || !value.objectId || name === '__proto__') continue
      const { subtype = '', className = '' } = value
      const at = `${path}.${name}`
      if (subtype === 'map' || subtype === 'set' || subtype === 'array') {
        const size = post('Runtime.callFunctionOn', {
          objectId: value.objectId,
          functionDeclaration: 'function () { return this.size ?? this.length }',
        }).result as { value: number }
        if (size.value > 0) sizes[at] = size.value
      } else if (subtype === '' && className !== '' && depth < DEPTH_MAX && !seen.has(at)) {
        seen.add(at)
        look(value.objectId, at, depth + 1)
      }
    }
  }
  try {
    const { objectId } = post('Runtime.evaluate', { expression: 'globalThis.looked' }).result as { objectId: string }
    look(objectId, '', 0)
  } finally {
    delete place.looked
    session.disconnect()
  }
  return sizes
}

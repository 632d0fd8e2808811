import { SourceMap } from 'node:module'
import { getAsset } from 'node:sea'

// Goes first into each bundle of the single binary: stacks name source files and lines instead of places in the bundle,
// so that what an operator pastes into a bug report says where to look. (Node's own --enable-source-maps does not know a
// binary's main module.) The map is opened when somebody looks at a stack, so a healthy program never pays for it; it
// takes 0.1 s and 90 MB, so what was found is kept, and the map is not.

/** The asset that holds this bundle's map; the build puts it in. */
declare const MAP_ASSET: string

type Place = [line: number, column: number]

/** What stands at places in the bundle, such as `src/cli/main.ts:12`; empty = nothing that has a name. */
const sources = new Map<string, string>()

function findSources(places: Place[]): void {
  const unknown = places.filter((place) => !sources.has(String(place)))
  if (unknown.length === 0) return
  const map = new SourceMap(JSON.parse(getAsset(MAP_ASSET, 'utf8')))
  for (const [line, column] of unknown) {
    const entry = map.findEntry(line - 1, column - 1)
    const source = 'originalSource' in entry ? `${entry.originalSource}:${entry.originalLine + 1}` : ''
    sources.set(`${line},${column}`, source)
  }
}

// How this very bundle is called in stacks.
Error.prepareStackTrace = (_, [here]) => here?.getFileName()
const bundle = new Error().stack

Error.prepareStackTrace = (error, frames) => {
  const placeOf = (frame: NodeJS.CallSite): Place => [frame.getLineNumber() ?? 1, frame.getColumnNumber() ?? 1]
  const isOurs = (frame: NodeJS.CallSite) => frame.getFileName() === bundle
  findSources(frames.filter(isOurs).map(placeOf))
  const lines = frames.map((frame) => {
    const source = isOurs(frame) && sources.get(String(placeOf(frame)))
    return `\n    at ${source ? String(frame).replace(`${bundle}:${placeOf(frame).join(':')}`, source) : frame}`
  })
  return `${error}${lines.join('')}`
}

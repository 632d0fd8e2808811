import { FakeUpstream, type SeenCall } from '../../src/demo/fake-upstream.ts'
import { stampedText, upstreamPlan } from './chaos-plan.ts'

// The scripted upstream of a chaos run, in a process of its own. Each call for a message is named by its user agent,
// and each of its attempts is answered as the seed says, with the attempt's stamp on every piece of text.

/** What it saw of one call. */
export interface SeenByUpstream {
  name: string
  /** Unix ms. */
  firstMs: number
  /** What it did with each attempt. */
  kinds: string[]
}

/** Its answer to `report`. */
export interface UpstreamReport {
  running: number
  seen: SeenByUpstream[]
}

const seed = Number(process.argv[2])
const upstream = await FakeUpstream.start()
const seen = new Map<string, SeenByUpstream>()
let calls = 0

upstream.always(({ headers }: SeenCall) => {
  const name = String(headers['user-agent'])
  const call = seen.get(name) ?? { name, firstMs: Date.now(), kinds: [] }
  seen.set(name, call)
  const plan = upstreamPlan(seed, name, call.kinds.length)
  call.kinds.push(plan.kind)
  const text = stampedText(name, ++calls, plan)
  return { text, usage: { input: 100 + (calls % 900), output: 1 + text.length, cacheRead: calls % 50 }, ...plan.script }
})
process.on('message', () => {
  const report: UpstreamReport = { running: upstream.running, seen: [...seen.values()] }
  process.send?.(report)
})
process.on('disconnect', () => process.exit(0))
process.send?.({ port: Number(new URL(upstream.url).port) })

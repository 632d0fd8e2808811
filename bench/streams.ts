import { once } from 'node:events'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { percentile } from './lib/load.ts'
import type { OpenStreamsOptions, OpenStreamsResult } from './lib/open-streams.ts'
import { cpuSeconds, rssMb, type Subject, startScript } from './lib/subjects.ts'
import { OPEN_STREAM_EVERY_MS, OPEN_STREAMS_PATH } from './lib/upstream.ts'

// What does an open stream cost? Holds many of them open through a bare pass-through, and then through subgate (simple
// mode, metered), each for the same time: memory and its slope at the end, CPU, and how much longer the gaps between
// events are at the client than they were at the upstream.

const { values } = parseArgs({
  options: {
    streams: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
  },
})
const STREAMS = Number(values.streams)
const SECONDS = Number(values.seconds)
const OPEN_SECONDS = 10
/** Open streams hold what a conversation usually sends. */
const BODY = JSON.stringify({
  model: 'claude-opus-5-5',
  max_tokens: 1024,
  stream: true,
  messages: [{ role: 'user', content: 'lorem ipsum '.repeat(400) }],
})

interface Measured extends OpenStreamsResult {
  rss: number
  /** MB per minute over the second half. */
  slope: number
  cpuShare: number
}

async function measure(subject: Subject): Promise<Measured> {
  const openStreams: OpenStreamsOptions = {
    port: subject.port,
    keys: subject.keys,
    path: OPEN_STREAMS_PATH,
    body: BODY,
    streams: STREAMS,
    seconds: SECONDS,
    openSeconds: OPEN_SECONDS,
  }
  const worker = new Worker(new URL('./lib/open-streams.ts', import.meta.url), { workerData: { openStreams } })
  const over = once(worker, 'message') as Promise<[OpenStreamsResult]>
  const started = performance.now() + (OPEN_SECONDS + 2) * 1000
  const samples: [minute: number, mb: number][] = []
  const cpuAt: number[] = []
  const timer = setInterval(() => {
    const elapsed = performance.now() - started
    if (elapsed < 0 || elapsed > SECONDS * 1000) return
    samples.push([elapsed / 60_000, rssMb(subject.pid)])
    cpuAt.push(cpuSeconds(subject.pid))
  }, 1000)
  const [result] = await over
  clearInterval(timer)
  return {
    ...result,
    rss: percentile(
      samples.map(([, mb]) => mb).sort((a, b) => a - b),
      0.5,
    ),
    slope: slopeOf(samples.slice(Math.floor(samples.length / 2))),
    cpuShare: ((cpuAt.at(-1) ?? 0) - (cpuAt[0] ?? 0)) / Math.max(1, cpuAt.length - 1),
  }
}

/** Least squares. */
function slopeOf(points: [x: number, y: number][]): number {
  const mean = (read: (point: [number, number]) => number) =>
    points.reduce((sum, point) => sum + read(point), 0) / points.length
  const x = mean(([x]) => x)
  const y = mean(([, y]) => y)
  const covariance = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
  return covariance / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
}

const upstream = await startScript('upstream', 'upstream.ts', [])
const url = `http://127.0.0.1:${upstream.port}`
console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}; ${STREAMS} streams, an event every ${OPEN_STREAM_EVERY_MS} ms on each, for ${SECONDS} s`,
)
console.log(
  '| | RSS MB | of bare | slope MB/min | CPU | latency p50 / p99 ms | added gap p50 / p99 ms | events/s | broken |',
)
console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
let bareRss = Number.NaN
for (const [name, script, args] of [
  ['bare', 'bare-proxy.ts', [url]],
  ['simple', 'gateway.ts', [url, 'simple']],
] as const) {
  const subject = await startScript(name, script, [...args])
  const { rss, slope, cpuShare, latencyMs, addedGapMs, events, broken } = await measure(subject)
  if (name === 'bare') bareRss = rss
  const both = (sorted: number[]) => `${percentile(sorted, 0.5).toFixed(2)} / ${percentile(sorted, 0.99).toFixed(2)}`
  console.log(
    `| ${name} | ${rss.toFixed(0)} | ${(rss / bareRss).toFixed(2)} | ${slope.toFixed(2)} | ${(cpuShare * 100).toFixed(0)} % | ${both(latencyMs)} | ${both(addedGapMs)} | ${(events / SECONDS).toFixed(0)} | ${broken} |`,
  )
  if (script === 'gateway.ts') {
    // Clients that left have their rows as well.
    await new Promise((resolve) => setTimeout(resolve, 3000))
    subject.child.send('count')
    const [{ rows, problems }] = (await once(subject.child, 'message')) as [{ rows: number; problems: string[] }]
    console.log(
      `${name}: streams minus usage rows: ${STREAMS - rows}; usage verify: ${problems.length === 0 ? 'ok' : problems[0]}`,
    )
  }
  await subject.stop()
}
await upstream.stop()
process.exit(0)

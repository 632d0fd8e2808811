import { once } from 'node:events'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { type LoadOptions, type LoadResult, median, type PreparedRequest, percentile } from './lib/load.ts'
import { cpuSeconds, hasNginx, NODE_FLAGS, rssMb, type Subject, startNginx, startScript } from './lib/subjects.ts'

// What does the gateway cost? Compares, alternating in one run, several rounds: no proxy, a bare undici pass-through (as
// Node runs it by default, which the ratios refer to, and with the memory flags that subgate runs with), nginx as a
// proxy, and subgate with metering and durable accounting on, in simple mode and in saas mode on SQLite. Absolute figures
// of shared machines move by a factor of three within an hour: read the ratios.

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    warm: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '4' },
    only: { type: 'string' },
    connections: { type: 'string', default: '1,32,256' },
    workloads: { type: 'string', default: 'json,sse' },
    json: { type: 'boolean', default: false },
  },
})
const ROUNDS = Number(values.rounds)
const SECONDS = Number(values.seconds)
/** The compiler takes about so long under load to have seen everything. */
const WARM_SECONDS = Number(values.warm)
const MODELS = ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5']

interface Workload {
  name: string
  path: string
  body: (model: string) => string
}

const WORKLOADS: Record<string, Workload> = {
  json: { name: 'JSON, 1 KB in, 0.5 KB out', path: '/v1/messages', body: (model) => bodyOf(model, false, 700) },
  sse: {
    name: 'SSE, 100 KB in, 200 events out',
    path: '/v1/messages?stream',
    body: (model) => bodyOf(model, true, 100_000),
  },
}

function bodyOf(model: string, stream: boolean, characters: number): string {
  const turn = 'Please look at this "code" and say\nwhat it does. '.repeat(20)
  const turns = Math.max(1, Math.round(characters / turn.length))
  const messages = Array.from({ length: turns }, (_, index) => ({
    role: index % 2 === 0 ? 'user' : 'assistant',
    content: turns === 1 ? turn.slice(0, characters) : turn,
  }))
  return JSON.stringify({ model, max_tokens: 1024, stream, system: 'You are a helpful assistant.', messages })
}

function requestsFor(subject: Subject, workload: Workload): PreparedRequest[] {
  return subject.keys.flatMap((key) =>
    MODELS.map((model) => ({
      path: workload.path,
      headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01', 'x-api-key': key },
      body: workload.body(model),
    })),
  )
}

interface Measured {
  perSecond: number
  firstP50: number
  firstP99: number
  lastP50: number
  lastP99: number
  cpuMs: number
  rss: number
  answers: number
  failures: number
}

async function measure(subject: Subject, workload: Workload, connections: number, seconds: number): Promise<Measured> {
  const options: LoadOptions = { port: subject.port, requests: requestsFor(subject, workload), connections, seconds }
  const before = cpuSeconds(subject.pid)
  const worker = new Worker(new URL('./lib/load.ts', import.meta.url), { workerData: { load: options } })
  const [result] = (await once(worker, 'message')) as [LoadResult]
  const cpu = cpuSeconds(subject.pid) - before
  return {
    perSecond: result.answers / result.seconds,
    firstP50: percentile(result.firstByteMs, 0.5),
    firstP99: percentile(result.firstByteMs, 0.99),
    lastP50: percentile(result.lastByteMs, 0.5),
    lastP99: percentile(result.lastByteMs, 0.99),
    cpuMs: (cpu * 1000) / Math.max(1, result.answers),
    rss: rssMb(subject.pid),
    answers: result.answers,
    failures: result.failures,
  }
}

const upstream = await startScript('upstream', 'upstream.ts', [])
const url = `http://127.0.0.1:${upstream.port}`
const starts: [string, () => Promise<Subject>][] = [
  ['direct', async () => ({ ...upstream, name: 'direct', stop: async () => {} })],
  ['bare', () => startScript('bare', 'bare-proxy.ts', [url])],
  ['bare, flags', () => startScript('bare, flags', 'bare-proxy.ts', [url], NODE_FLAGS)],
  ...(hasNginx()
    ? [
        [
          'nginx',
          () =>
            startNginx(
              'nginx',
              'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header connection ""; proxy_buffering off; }',
              `upstream up { server 127.0.0.1:${upstream.port}; keepalive 512; keepalive_requests 1000000000; }`,
            ),
        ] as [string, () => Promise<Subject>],
      ]
    : []),
  ['simple', () => startScript('simple', 'gateway.ts', [url, 'simple'])],
  ['saas', () => startScript('saas', 'gateway.ts', [url, 'saas'])],
]
const wanted = values.only?.split(',')
const subjects: Subject[] = []
for (const [name, start] of starts) if (!wanted || wanted.includes(name)) subjects.push({ ...(await start()), name })

const answered = new Map<string, number>()
console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}; ${ROUNDS} rounds of ${SECONDS} s each, medians`,
)
for (const workload of values.workloads.split(',').map((name) => WORKLOADS[name] as Workload)) {
  for (const connections of values.connections.split(',').map(Number)) {
    const rounds = new Map<string, Measured[]>(subjects.map((subject) => [subject.name, []]))
    for (const subject of subjects) {
      const warm = await measure(subject, workload, connections, WARM_SECONDS)
      answered.set(subject.name, (answered.get(subject.name) ?? 0) + warm.answers)
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const subject of subjects) {
        const measured = await measure(subject, workload, connections, SECONDS)
        rounds.get(subject.name)?.push(measured)
        answered.set(subject.name, (answered.get(subject.name) ?? 0) + measured.answers)
      }
    }
    print(workload, connections, rounds)
  }
}

for (const subject of subjects.filter(({ name }) => name === 'simple' || name === 'saas')) {
  subject.child.send('count')
  const [{ rows, problems }] = (await once(subject.child, 'message')) as [{ rows: number; problems: string[] }]
  console.log(
    `${subject.name}: answers minus usage rows: ${(answered.get(subject.name) ?? 0) - rows}; usage verify: ${problems.length === 0 ? 'ok' : problems[0]}`,
  )
}
for (const subject of subjects) await subject.stop()
await upstream.stop()
process.exit(0)

function print(workload: Workload, connections: number, rounds: Map<string, Measured[]>): void {
  const of = (name: string, read: (measured: Measured) => number) => median((rounds.get(name) ?? []).map(read))
  const bare = rounds.has('bare') ? of('bare', (measured) => measured.perSecond) : Number.NaN
  console.log(`\n${workload.name}, ${connections} connection${connections === 1 ? '' : 's'}`)
  console.log(
    '| | requests/s | of bare | first byte p50 / p99 ms | last byte p50 / p99 ms | CPU ms/call | RSS MB | failed |',
  )
  console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
  for (const [name, measured] of rounds) {
    const perSecond = of(name, (one) => one.perSecond)
    const first = `${of(name, (one) => one.firstP50).toFixed(2)} / ${of(name, (one) => one.firstP99).toFixed(2)}`
    const last = `${of(name, (one) => one.lastP50).toFixed(2)} / ${of(name, (one) => one.lastP99).toFixed(2)}`
    const failures = measured.reduce((sum, one) => sum + one.failures, 0)
    const cpu = name === 'direct' ? '' : of(name, (one) => one.cpuMs).toFixed(3)
    const rss = name === 'direct' ? '' : of(name, (one) => one.rss).toFixed(0)
    console.log(
      `| ${name} | ${perSecond.toFixed(0)} | ${(perSecond / bare).toFixed(2)} | ${first} | ${last} | ${cpu} | ${rss} | ${failures} |`,
    )
  }
}

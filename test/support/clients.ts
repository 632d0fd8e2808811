import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { FakeUpstream, type Script, type SeenCall } from '../../src/demo/fake-upstream.ts'
import type { FakeUsage } from '../../src/demo/messages.ts'
import { until } from './client.ts'
import { type SentRequest, Wire } from './clients-wire.ts'
import { collectOutput } from './secrets.ts'
import { type Served, type ServedOptions, serve } from './served.ts'

/** Tokens by kind, as a usage row names them. */
export interface Tokens {
  inputTokens: number
  outputTokens: number
  cacheReadTokens: number
  cacheWrite5mTokens: number
  cacheWrite1hTokens: number
}

/** How one call is answered, and what its usage row must say where that is not what was reported (the client left). */
export type ClientScript = Script & { row?: Partial<Tokens> }

/** A usage row as `usage export` prints it. */
export interface ExportedCall extends Tokens {
  id: string
  outcome: string
  status: number
  error: string | null
  stream: boolean
  attempts: number
  requestedModel: string
  userAgent: string | null
}

/** Real clients' side of a served gateway: their requests are counted on the way in, their tokens at the fake upstream. */
export class ClientSite {
  readonly upstream: FakeUpstream
  readonly served: Served
  readonly wire: Wire
  readonly #scripts: ClientScript[] = []
  #expected: Tokens[] = []
  #asked = 0
  #rowsSeen = new Set<string>()

  private constructor(upstream: FakeUpstream, served: Served, wire: Wire) {
    this.upstream = upstream
    this.served = served
    this.wire = wire
    upstream.always((call) => this.#answer(call))
  }

  static async start(t: Test, options: Omit<ServedOptions, 'upstreamUrl'> = {}): Promise<ClientSite> {
    const upstream = await FakeUpstream.start()
    t.teardown(() => upstream[Symbol.asyncDispose]())
    // How often clients ask is the question here, so the gateway does not ask again by itself.
    const env = { SUBGATE_GATEWAY_MAX_ATTEMPTS: '1', ...options.env }
    const served = await serve(t, { ...options, env, upstreamUrl: upstream.url })
    const wire = await Wire.start(served.url)
    t.teardown(() => wire[Symbol.asyncDispose]())
    return new ClientSite(upstream, served, wire)
  }

  /** The next calls for a message are answered so; later ones as the real service would. */
  next(...scripts: ClientScript[]): void {
    this.#scripts.push(...scripts)
  }

  /** Every answer reports tokens of its own, so that no two rows can be taken for each other. */
  #answer(call: SeenCall): Script {
    const number = ++this.#asked
    const usage = { input: 1000 + number, output: 2000 + number, cacheRead: 30 + number, cacheWrite1h: 40 + number }
    const script = { usage, ...this.#scripts.shift() }
    const streams = (JSON.parse(call.body) as { stream?: boolean }).stream === true
    this.#expected.push({ ...reported(script, streams), ...script.row })
    return script
  }

  /** Forgets what was said of later calls. */
  dropScripts(): void {
    this.#scripts.length = 0
  }

  /** The call that the upstream saw last. Throws if there was none. */
  lastSeen(): SeenCall {
    const call = this.upstream.seen.at(-1)
    if (!call) throw new Error('nothing reached the upstream')
    return call
  }

  /** Requests that clients made since the last look: all, or those for a path (the others are forgotten with them). */
  take(path = ''): SentRequest[] {
    return this.wire.requests.splice(0).filter((request) => request.path.startsWith(path))
  }

  /**
   * What must hold after any calls, once nothing runs any more: no slot is held, the money adds up, and there is one
   * row for each admitted call with just the tokens that the upstream reported. Returns the new rows, in order of arrival.
   */
  async settled(t: Test, admitted: number): Promise<ExportedCall[]> {
    const { operator } = this.served
    await until('every slot to be given back', async () => {
      const slots = await operator.ask<unknown[]>('slot', 'list')
      return slots.length === 0
    })
    const exported = await operator.run('usage', 'export', '--format', 'jsonl')
    const proof = await operator.run('usage', 'verify')
    const all = exported.stdout.split('\n').flatMap((line) => (line ? [JSON.parse(line) as ExportedCall] : []))
    const rows = all.filter((row) => !this.#rowsSeen.has(row.id))
    for (const { id } of rows) this.#rowsSeen.add(id)
    const asked = rows.reduce((sum, row) => sum + row.attempts, 0)
    t.equal(proof.code, 0, `usage verify: ${proof.stdout}${proof.stderr}`)
    t.equal(rows.length, admitted, 'one row for each admitted call')
    t.equal(asked, this.#expected.length, 'as many attempts as the upstream was asked')
    t.same(rows.map(tokensOf).sort(byTokens), this.#expected.sort(byTokens), 'the tokens that the upstream reported')
    this.#expected = []
    return rows
  }
}

/** What a row says of a call that reported nothing. */
export const NO_TOKENS: Tokens = {
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
}

/** Says its first words and then nothing more. When the client leaves, they are all that can be counted of its output. */
export const ENDLESS: ClientScript = {
  text: ['What you said: ', 'hi'],
  breaks: { after: 4, how: 'silence' },
  row: { outputTokens: Math.ceil('What you said: '.length / 4) },
}

/** Breaks off some time after its first words, so that they have been passed on and nobody else can be asked. */
export function brokenStream(how: 'mid_event' | 'clean_end' | 'reset' | 'error_event'): ClientScript {
  return { text: ['This ', 'is ', 'not ', 'all'], eventDelayMs: 100, breaks: { after: 5, how } }
}

/** What an answer tells of its tokens: a stream that breaks says only what stands in its first event. */
function reported(script: Script & { usage: FakeUsage }, streams: boolean): Tokens {
  const { usage, breaks } = script
  if (script.status !== undefined || script.headDelayMs === 'forever' || script.resetBeforeHead) return NO_TOKENS
  return {
    inputTokens: usage.input,
    outputTokens: streams && breaks ? 1 : usage.output,
    cacheReadTokens: usage.cacheRead ?? 0,
    cacheWrite5mTokens: usage.cacheWrite5m ?? 0,
    cacheWrite1hTokens: usage.cacheWrite1h ?? 0,
  }
}

function tokensOf(row: ExportedCall): Tokens {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = row
  return { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens }
}

function byTokens(a: Tokens, b: Tokens): number {
  return a.inputTokens - b.inputTokens
}

/** How a client program ended. */
export interface ProgramResult {
  /** null = it had to be killed, because it did not come to an end. */
  code: number | null
  stdout: string
  stderr: string
}

export interface ProgramOptions {
  cwd: string
  env: Record<string, string>
  timeoutMs: number
  /** Ends it before its time is over. */
  signal?: AbortSignal | undefined
  /** Talks with it: gets each line that it prints, after an empty one at its start, and says what it is told; null ends its input. */
  talk?: ((line: string) => string[] | null) | undefined
}

/** Runs a client program in a process group of its own, which is killed as a whole when its time is over. */
export async function runProgram(
  program: string,
  args: string[],
  { cwd, env, timeoutMs, signal, talk }: ProgramOptions,
): Promise<ProgramResult> {
  const child = spawn(program, args, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  child.stdin.on('error', () => {}) // it may be over before all is said
  const say = (line: string) => {
    const said = talk?.(line) ?? null
    if (said === null) child.stdin.end()
    else for (const words of said) child.stdin.write(`${words}\n`)
  }
  if (talk) createInterface({ input: child.stdout }).on('line', say)
  say('')
  const kill = () => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {} // nothing of it is left
  }
  process.on('exit', kill)
  const timer = setTimeout(kill, timeoutMs)
  signal?.addEventListener('abort', kill)
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  clearTimeout(timer)
  signal?.removeEventListener('abort', kill)
  process.off('exit', kill)
  collectOutput('client-program', stdout + stderr)
  return { code, stdout, stderr }
}

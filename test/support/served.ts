import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { type Cli, type CliResult, newCli } from './cli.ts'
import { until } from './client.ts'
import { collectOutput, keepSecret, secretKey } from './secrets.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts')
/** Running calls of a test end at once or not at all. */
const STOP_PATIENCE_MS = 20_000

/** Whose end is also that of what it has started: a test, or a run of a benchmark. */
export type Owner = Pick<Test, 'teardown'>

/** The command line as an operator has it, with a home folder that is gone after the test. */
export class Operator {
  readonly #cli: Cli
  readonly #env: Record<string, string>

  /** `env` is all that commands get beside PATH and HOME. */
  constructor(t: Owner, env: Record<string, string> = {}) {
    this.#cli = newCli()
    this.#env = env
    t.teardown(() => rmSync(this.home, { recursive: true, force: true }))
  }

  get home(): string {
    return this.#cli.home
  }

  /** Starts a command as a process of its own. */
  start(...args: string[]): ChildProcessWithoutNullStreams {
    const PATH = `${dirname(process.execPath)}:${process.env.PATH}`
    return spawn(process.execPath, [MAIN, ...args], { cwd: this.home, env: { PATH, HOME: this.home, ...this.#env } })
  }

  /** What a command prints that is run as a process. Throws what it complains about if it does not succeed. */
  async spawn(args: string[], input = ''): Promise<string> {
    const child = this.start(...args)
    child.stdin.on('error', () => {}) // a command that takes no input may be over before it is written
    child.stdin.end(input)
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ])
    collectOutput('subgate', stderr)
    if (code !== 0) throw new Error(`subgate ${args.join(' ')} ended with ${code}: ${stderr}`)
    return stdout.trim()
  }

  /** Runs a command in this process, which is much faster, to its end, whatever that is. */
  run(...args: string[]): Promise<CliResult> {
    return this.#cli.with({ env: this.#env })(...args)
  }

  /** What a command prints with --json, run in this process. Throws what it complains about if it does not succeed. */
  async ask<T>(...args: string[]): Promise<T> {
    const result = await this.run(...args, '--json')
    if (result.code !== 0) throw new Error(`subgate ${args.join(' ')} ended with ${result.code}: ${result.stderr}`)
    return result.json<T>()
  }
}

/** A real `subgate serve` process. */
export class ServeProcess {
  readonly url: string
  readonly #child: ChildProcess
  readonly #said: () => string

  private constructor(child: ChildProcess, url: string, said: () => string) {
    this.#child = child
    this.url = url
    this.#said = said
  }

  /** Resolves once it listens. It is killed when the test is over, if it runs still. Throws what it said if it ends instead. */
  static async start(t: Owner, operator: Operator, args = ['--listen', '127.0.0.1:0']): Promise<ServeProcess> {
    const child = operator.start('serve', ...args)
    child.stdin.end()
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said += chunk
        collectOutput('subgate-serve', chunk)
      })
    }
    const kill = () => child.kill('SIGKILL')
    process.on('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    t.teardown(async () => {
      if (isRunning(child) && kill()) await once(child, 'exit')
    })
    const url = await until('subgate to listen', () => {
      if (!isRunning(child)) throw new Error(`subgate serve ended: ${said}`)
      return /listens on (http:\S+)/.exec(said)?.[1]
    })
    return new ServeProcess(child, url, () => said)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** Resolves when the process is gone, whatever ended it. */
  get exited(): Promise<unknown> {
    return isRunning(this.#child) ? once(this.#child, 'exit') : Promise.resolve()
  }

  /** All that it has said so far, on both streams. */
  get said(): string {
    return this.#said()
  }

  /** Ends it as a service manager does, with SIGTERM. Resolves with its exit code; null = it had to be killed. */
  async stop(): Promise<number | null> {
    if (!isRunning(this.#child)) return this.#child.exitCode
    const over = once(this.#child, 'exit') as Promise<[number | null]>
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_PATIENCE_MS)
    const [code] = await over
    clearTimeout(timer)
    return code
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** A gateway set up by the command line alone, running as a process, with one account and one user with a key. */
export interface Served {
  operator: Operator
  process: ServeProcess
  url: string
  user: string
  keyId: string
  /** What clients send. */
  key: string
}

export interface ServedOptions {
  /** Where the account's calls go. */
  upstreamUrl: string
  runMode?: 'simple' | 'saas'
  /** Configuration, as environment variables. */
  env?: Record<string, string>
  /** Flags of `user add`. */
  user?: string[]
  /** Flags of `account add`. */
  account?: string[]
  /** Flags of `serve`; a free port if left out. */
  serve?: string[]
}

export async function serve(
  t: Test,
  { upstreamUrl, runMode = 'simple', env, user = [], account: more = [], serve: args }: ServedOptions,
): Promise<Served> {
  const operator = new Operator(t, {
    SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_INSECURE_HTTP: 'true',
    SUBGATE_SECURITY_URL_ALLOWLIST_ALLOW_PRIVATE_HOSTS: 'true',
    ...env,
  })
  await operator.spawn(['init', '--yes', '--mode', runMode])
  const account = ['account', 'add', 'anthropic', '--base-url', upstreamUrl, '--allow-host', '--api-key-stdin', ...more]
  await operator.spawn(account, secretKey())
  const email = 'ada@example.com'
  await operator.spawn(['user', 'add', email, ...user])
  const issued = JSON.parse(await operator.spawn(['key', 'issue', email, '--json'])) as { id: string; key: string }
  const key = keepSecret(issued.key)
  const process = await ServeProcess.start(t, operator, args)
  return { operator, process, url: process.url, user: email, keyId: issued.id, key }
}

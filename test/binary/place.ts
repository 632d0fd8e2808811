import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { buildBinary } from '../../scripts/build-binary.ts'
import { until } from '../support/client.ts'
import { collectOutput } from '../support/secrets.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const BINARY = join(ROOT, 'dist', 'subgate')
const SOURCES = ['src/**/*.*', 'migrations/*', 'scripts/*', 'package.json', 'package-lock.json']

/** The path of the binary; it is built if it is older than what it is made of. */
async function freshBinary(): Promise<string> {
  const changedAtMs = Math.max(...globSync(SOURCES, { cwd: ROOT }).map((path) => statSync(join(ROOT, path)).mtimeMs))
  if (!existsSync(BINARY) || statSync(BINARY).mtimeMs < changedAtMs) await buildBinary('src/cli/main.ts', BINARY)
  return BINARY
}

/** What a run of the binary came to. */
export interface Result {
  code: number | null
  stdout: string
  stderr: string
}

/** A machine that has nothing of ours but the binary: a folder with it alone, an empty home, an environment without Node. */
export class Place {
  /** Holds the binary, and nothing else may come to be in it. */
  readonly folder: string
  readonly home: string
  readonly temporary: string
  readonly binary: string
  readonly #env: Record<string, string>

  private constructor(root: string, env: Record<string, string>) {
    this.folder = join(root, 'folder')
    this.home = join(root, 'home')
    this.temporary = join(root, 'tmp')
    this.binary = join(this.folder, 'subgate')
    for (const path of [this.folder, this.home, this.temporary]) mkdirSync(path)
    this.#env = {
      HOME: this.home,
      TMPDIR: this.temporary,
      PATH: join(root, 'nothing'),
      NODE_OPTIONS: '--no-such-option', // of the operator's shell; it is meant for other programs
      ...env,
    }
  }

  /** Everything is removed when the test is over. */
  static async make(t: Test, env: Record<string, string> = {}): Promise<Place> {
    const root = mkdtempSync(join(tmpdir(), 'subgate-binary-'))
    t.teardown(() => rmSync(root, { recursive: true, force: true }))
    const place = new Place(root, env)
    copyFileSync(await freshBinary(), place.binary)
    return place
  }

  start(program: string, args: string[], env: Record<string, string> = {}): ChildProcessWithoutNullStreams {
    return spawn(program, args, { cwd: this.folder, env: { ...this.#env, ...env } })
  }

  /** Runs the binary to its end, with an empty standard input unless told otherwise. */
  async run(
    args: string[],
    options: { input?: string; env?: Record<string, string>; program?: string } = {},
  ): Promise<Result> {
    const child = this.start(options.program ?? this.binary, args, options.env)
    child.stdin.on('error', () => {}) // a command that takes no input may be over before it is written
    child.stdin.end(options.input ?? '')
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    collectOutput('binary', stdout + stderr)
    return { code, stdout, stderr }
  }

  /** What a run prints with --json. Throws what it complains about if it does not succeed. */
  async ask<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run([...args, '--json'])
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stderr}`)
    return JSON.parse(stdout) as T
  }

  /** Everything in a folder and below, by path, without what may be cached. */
  contents(folder: string): string[] {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => !path.startsWith('.cache'))
  }
}

/** A program that is running, with all that it has said on both streams. It is killed when the test is over. */
export class Running {
  readonly child: ChildProcess
  said = ''

  constructor(t: Test, child: ChildProcessWithoutNullStreams) {
    this.child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => {
        this.said += chunk
        collectOutput('binary', chunk)
      })
    }
    t.teardown(async () => {
      if (this.isRunning && child.kill('SIGKILL')) await once(child, 'exit')
    })
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Resolves with what the pattern catches once it was said. Throws all that was said if the program ends before. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return until(`${pattern}`, () => {
      const found = pattern.exec(this.said)
      if (!found && !this.isRunning) throw new Error(`it ended with ${this.child.exitCode}: ${this.said}`)
      return found
    })
  }

  /** Resolves when the program has ended; null if a signal ended it. */
  async exitCode(): Promise<number | null> {
    if (this.isRunning) await once(this.child, 'exit')
    return this.child.exitCode
  }

  /** Sends a signal and resolves with the exit code. */
  stop(signal: 'SIGTERM' | 'SIGINT'): Promise<number | null> {
    this.child.kill(signal)
    return this.exitCode()
  }
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { runCli } from '../../src/cli/program.ts'
import { collectOutput } from './secrets.ts'

/** What a command line did. */
export interface CliResult {
  code: number
  stdout: string
  stderr: string
  /** stdout as JSON. */
  json<T = Record<string, unknown>>(): T
}

export interface CliOptions {
  env?: NodeJS.ProcessEnv
  /** What stands on standard input. */
  stdin?: string
}

/** The command line in a home of its own, in this process: `await subgate('user', 'list')`. */
export interface Cli {
  (...argv: string[]): Promise<CliResult>
  /** The same with an environment or standard input. */
  with(options: CliOptions): (...argv: string[]) => Promise<CliResult>
  home: string
  dataDir: string
}

/** Removed together: a listener for each would be more than Node expects. */
const homes: string[] = []
process.once('exit', () => {
  for (const home of homes) rmSync(home, { recursive: true, force: true })
})

/** A command line whose configuration, data and environment are nobody else's. */
export function newCli(): Cli {
  const home = mkdtempSync(join(tmpdir(), 'subgate-test-home-'))
  homes.push(home)
  const withOptions =
    (options: CliOptions) =>
    async (...argv: string[]): Promise<CliResult> => {
      const stdin = new PassThrough()
      stdin.end(options.stdin ?? '')
      const stdout = collected()
      const stderr = collected()
      const env = { HOME: home, ...options.env }
      const code = await runCli(argv, { stdin, stdout: stdout.stream, stderr: stderr.stream, env, cwd: home })
      collectOutput('cli', stderr.text())
      const json = <T>() => JSON.parse(stdout.text()) as T
      return { code, stdout: stdout.text(), stderr: stderr.text(), json }
    }
  return Object.assign(withOptions({}), {
    with: withOptions,
    home,
    dataDir: join(home, '.local/share/subgate'),
  })
}

function collected(): { stream: PassThrough; text: () => string } {
  const stream = new PassThrough()
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') }
}

/** One that has been set up with `init --yes`. */
export async function initializedCli(): Promise<Cli> {
  const cli = newCli()
  const { code, stderr } = await cli('init', '--yes')
  if (code !== 0) throw new Error(`init failed: ${stderr}`)
  return cli
}

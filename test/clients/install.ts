import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'

// Real clients for the tests, each at one version: fetched by npm into a git-ignored folder on first use, then reused.

const ROOT = join(import.meta.dirname, '..', '..')
const CLIENTS = join(ROOT, '.runtime', 'clients')

const CLAUDE_CODE = { name: '@anthropic-ai/claude-code', version: '2.1.330' }
const ANTHROPIC_SDK = { name: '@anthropic-ai/sdk', version: '1.12.0' }
const OPENAI_SDK = { name: 'openai', version: '7.57.0' }
const GOOGLE_SDK = { name: '@google/genai', version: '3.1.0' }
const CODEX = { name: '@openai/codex', version: '0.169.0' }
const GEMINI_CLI = { name: '@google/gemini-cli', version: '0.61.0' }

interface Client {
  name: string
  version: string
}

/** The program `claude`. Throws if it cannot be fetched or does not run here. */
export async function claudeCode(): Promise<string> {
  const packages = join(await installed(CLAUDE_CODE), 'node_modules', '@anthropic-ai')
  // npm does not run the install script that links the native program; it lies in the package of this platform.
  const [program] = globSync('claude-code-*/claude', { cwd: packages })
  if (!program) {
    throw new Error(`${named(CLAUDE_CODE)} came without a program for ${process.platform}-${process.arch}`)
  }
  const path = join(packages, program)
  const { output } = await run(path, ['--version'])
  if (!output.startsWith(CLAUDE_CODE.version)) throw new Error(`${path} does not run here: ${output}`)
  return path
}

/** The program `codex`. Throws if it cannot be fetched, or is not made for this platform. */
export async function codex(): Promise<string> {
  const packages = join(await installed(CODEX), 'node_modules', '@openai')
  const [program] = globSync('codex-*/vendor/*/bin/codex', { cwd: packages })
  if (!program) throw new Error(`${named(CODEX)} came without a program for ${process.platform}-${process.arch}`)
  return join(packages, program)
}

/** The script of `gemini`, for Node. Throws if it cannot be fetched. */
export async function geminiCli(): Promise<string> {
  return join(await installed(GEMINI_CLI), 'node_modules', GEMINI_CLI.name, 'bundle', 'gemini.js')
}

/** The module to import. Throws if it cannot be fetched. */
export async function anthropicSdk(): Promise<string> {
  return join(await installed(ANTHROPIC_SDK), 'node_modules', ANTHROPIC_SDK.name, 'index.mjs')
}

/** The module to import. Throws if it cannot be fetched. */
export async function openaiSdk(): Promise<string> {
  return join(await installed(OPENAI_SDK), 'node_modules', OPENAI_SDK.name, 'index.mjs')
}

/** The module to import. Throws if it cannot be fetched. */
export async function googleSdk(): Promise<string> {
  return join(await installed(GOOGLE_SDK), 'node_modules', GOOGLE_SDK.name, 'dist', 'node', 'index.mjs')
}

/** The folder whose node_modules hold the client. It is moved into place whole, so one that exists is complete. */
async function installed(client: Client): Promise<string> {
  const folder = join(CLIENTS, named(client).replace('/', '-'))
  if (existsSync(folder)) return folder
  const partial = `${folder}.${process.pid}`
  mkdirSync(partial, { recursive: true })
  try {
    await download(client, partial)
    renameSync(partial, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error // else another process was faster
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
  return folder
}

async function download(client: Client, prefix: string): Promise<void> {
  const [npm, ...before] = npmCommand()
  const { code, output } = await run(npm, [
    ...before,
    ...['install', '--prefix', prefix, '--no-save', '--no-package-lock', '--no-audit', '--no-fund'],
    ...['--loglevel', 'error', named(client)],
  ])
  if (code === 0) return
  throw new Error(
    `cannot get ${named(client)}: is there a network, and does npm reach its registry? npm says:\n${output.trim()}`,
  )
}

function named({ name, version }: Client): string {
  return `${name}@${version}`
}

/** npm under this very Node where its code can be found, as an older one picks older packages; else the one on PATH. */
function npmCommand(): [string, ...string[]] {
  const { subgate } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { subgate: { runtime: string } }
  const script = [
    join(ROOT, '.runtime', subgate.runtime, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
  ].find((path) => existsSync(path))
  return script ? [process.execPath, script] : ['npm']
}

/** Runs a program to its end. Resolves with its exit code (null if it could not be started) and all that it said. */
async function run(program: string, args: string[]): Promise<{ code: number | null; output: string }> {
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH } })
  const said = Promise.all([text(child.stdout), text(child.stderr)])
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, output: (await said).join('') }
  } catch (error) {
    return { code: null, output: (error as Error).message }
  }
}

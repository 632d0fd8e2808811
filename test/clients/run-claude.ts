import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type ProgramResult, runProgram } from '../support/clients.ts'
import { claudeCode } from './install.ts'

/** The longest that any run may take; one takes about half a second, and two more on a busy machine. */
const RUN_TIMEOUT_MS = 60_000

const claude = await claudeCode()
let homes = 0

/** A home folder that no run has used, inside `folder`. */
export function newClaudeHome(folder: string): string {
  const home = join(folder, `claude-${++homes}`)
  mkdirSync(join(home, 'project'), { recursive: true })
  mkdirSync(join(home, 'tmp'))
  return home
}

/** It calls nobody but the gateway, and could not: its way out is a port on which nothing listens. */
export const QUIET: Record<string, string> = {
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  NO_PROXY: '127.0.0.1',
}

export interface ClaudeRun {
  url: string
  key: string
  home: string
  /** Default: what keeps it quiet. */
  env?: Record<string, string>
  /** Ends it before it ends by itself. */
  signal?: AbortSignal
  talk?: (line: string) => string[] | null
}

/** Runs `claude -p` against a gateway. It is killed when its time is over. */
export function runClaude(
  args: string[],
  { url, key, home, env = QUIET, signal, talk }: ClaudeRun,
): Promise<ProgramResult> {
  return runProgram(claude, ['-p', ...args], {
    cwd: join(home, 'project'),
    timeoutMs: RUN_TIMEOUT_MS,
    signal,
    talk,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: home,
      TMPDIR: join(home, 'tmp'),
      ANTHROPIC_BASE_URL: url,
      ...('ANTHROPIC_API_KEY' in env ? {} : { ANTHROPIC_AUTH_TOKEN: key }),
      IS_SANDBOX: '1', // it may be root that runs the tests
      ...env,
    },
  })
}

/**
 * Runs `claude` as a program that embeds it does: it asks us before it uses a tool, or leaves Plan Mode, and is always allowed. Prints
 * its messages, one JSON per line.
 */
export function runClaudeAllowing(prompt: string, run: Omit<ClaudeRun, 'talk'>): Promise<ProgramResult> {
  const said = (message: object) => JSON.stringify(message)
  const streams = ['--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose']
  return runClaude([...streams, '--permission-prompt-tool', 'stdio'], {
    ...run,
    talk(line) {
      if (line === '') {
        const initialize = { type: 'control_request', request_id: 'start', request: { subtype: 'initialize' } }
        return [said(initialize), said({ type: 'user', message: { role: 'user', content: prompt } })]
      }
      const message = JSON.parse(line)
      if (message.type === 'result') return null
      if (message.type !== 'control_request' || message.request.subtype !== 'can_use_tool') return []
      const allowed = { behavior: 'allow', updatedInput: message.request.input }
      const response = { subtype: 'success', request_id: message.request_id, response: allowed }
      return [said({ type: 'control_response', response })]
    },
  })
}

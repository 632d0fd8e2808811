import { mkdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { clientLines } from '../../src/cli/client-lines.ts'
import { type ProgramResult, runProgram } from '../support/clients.ts'
import { codex } from './install.ts'

/** The longest that any run may take; one takes about a second. */
const RUN_TIMEOUT_MS = 60_000

const program = await codex()

export interface ProgramRun {
  url: string
  key: string
  /** A folder that is not there yet. */
  home: string
}

/** Runs `codex exec` in an empty home, with the lines of `subgate env` in its shell. */
export function runCodex(args: string[], { url, key, home }: ProgramRun): Promise<ProgramResult> {
  mkdirSync(join(home, 'project'), { recursive: true })
  const lines = [...clientLines('codex', url, key), 'codex exec --skip-git-repo-check "$@"']
  return runProgram('sh', ['-c', lines.join('\n'), 'sh', ...args], {
    cwd: join(home, 'project'),
    timeoutMs: RUN_TIMEOUT_MS,
    env: {
      PATH: [dirname(program), dirname(process.execPath), process.env.PATH].join(delimiter),
      HOME: home,
      HTTPS_PROXY: 'http://127.0.0.1:9',
      NO_PROXY: '127.0.0.1',
    },
  })
}

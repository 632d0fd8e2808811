import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { clientLines } from '../../src/cli/client-lines.ts'
import { type ProgramResult, runProgram } from '../support/clients.ts'
import { geminiCli } from './install.ts'
import type { ProgramRun } from './run-codex.ts'

/** The longest that any run may take; one takes about three seconds. */
const RUN_TIMEOUT_MS = 60_000
const SETTINGS = {
  security: { auth: { selectedType: 'gemini-api-key' } },
  general: { enableAutoUpdate: false },
  privacy: { usageStatisticsEnabled: false },
}

const script = await geminiCli()

/** Runs `gemini -p` in a home that has nothing but its settings, with the lines of `subgate env` in its shell. */
export function runGemini(args: string[], { url, key, home }: ProgramRun): Promise<ProgramResult> {
  mkdirSync(join(home, 'project'), { recursive: true })
  mkdirSync(join(home, '.gemini'))
  writeFileSync(join(home, '.gemini', 'settings.json'), JSON.stringify(SETTINGS))
  const lines = [...clientLines('gemini-cli', url, key), 'exec node "$@"']
  return runProgram('sh', ['-c', lines.join('\n'), 'sh', script, '-p', ...args], {
    cwd: join(home, 'project'),
    timeoutMs: RUN_TIMEOUT_MS,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: home,
      GEMINI_CLI_TRUST_WORKSPACE: 'true',
      HTTPS_PROXY: 'http://127.0.0.1:9',
      NO_PROXY: '127.0.0.1',
    },
  })
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { parseArgs } from 'node:util'
import { pgbouncerProgram, postgresPrograms } from '../test/support/postgres-programs.ts'
import { collectOutput, leakedSecrets } from '../test/support/secrets.ts'

// Every check of the project, in one run that ends with a line of counts. Called by bin/test.

const HELP = `Usage: bin/test [--clients] [--binary] [PATH…]

Without a path: types, style, and every test but those that need more than this checkout.
  --clients   also the tests in test/clients, which fetch real clients (0.9 GB) on first use
  --binary    also build the single binary and run its smoke test
  PATH…       only these test files, or those in these folders`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: 'boolean', default: false },
    binary: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(`${HELP}\n`)
  process.exit(0)
}

const ROOT = join(import.meta.dirname, '..')
const scratch = mkdtempSync(join(tmpdir(), 'subgate-test-run-'))
const counts = { passed: 0, failed: 0, skipped: 0 }

function start(program: string, args: string[], stdout: 'inherit' | 'pipe'): ChildProcess {
  return spawn(join(ROOT, 'node_modules', '.bin', program), args, {
    cwd: ROOT,
    stdio: ['ignore', stdout, 'inherit'],
    env: {
      ...process.env,
      PATH: `${join(process.execPath, '..')}:${process.env.PATH}`,
      SUBGATE_TEST_OUTPUT: scratch,
      // What the operator's shell says must not reach the programs under test.
      SUBGATE_CONFIG: undefined,
      SUBGATE_DATA_DIR: undefined,
      RUN_MODE: undefined,
    },
  })
}

/** Runs a program of node_modules to its end, its output as it comes. Resolves with whether it succeeded. */
async function run(program: string, args: string[]): Promise<boolean> {
  const [code] = (await once(start(program, args, 'inherit'), 'exit')) as [number | null]
  return code === 0
}

/** Prints a line and counts it. */
function note(name: string, passed: boolean): void {
  counts[passed ? 'passed' : 'failed']++
  process.stdout.write(`${passed ? 'ok' : 'NOT OK'}: ${name}\n`)
}

/**
 * Runs test files and prints a line for each; of one that fails, all that it said. Counts its tests (the first level of
 * subtests; a file that fails outside of them counts once).
 */
async function runTests(files: string[]): Promise<void> {
  const tap = start('tap', ['run', '--reporter=tap', ...files], 'pipe')
  const exit = once(tap, 'exit')
  let said: string[] = []
  let failed = 0
  let filesFailed = 0
  for await (const line of createInterface({ input: tap.stdout as Readable })) {
    said.push(line)
    const point = /^( {4})?(not )?ok \d+ - (.*)$/.exec(line)
    if (!point) continue
    const [, isTest, notOk, name = ''] = point
    if (isTest && / # (SKIP|TODO)/i.test(name)) {
      counts.skipped++
      process.stdout.write(`skipped: ${name}\n`)
    } else if (isTest) {
      counts[notOk ? 'failed' : 'passed']++
      if (notOk) failed++
    } else {
      if (notOk && failed === 0) counts.failed++
      if (notOk) filesFailed++
      process.stdout.write(notOk ? `${said.join('\n')}\nNOT OK: ${name}\n` : `ok: ${name}\n`)
      collectOutput('tap', said.join('\n'), scratch)
      said = []
      failed = 0
    }
  }
  const [code] = (await exit) as [number | null]
  if (code !== 0 && filesFailed === 0) note(`the test runner ended with ${code}:\n${said.join('\n')}`, false)
}

/** tap writes its plugins into node_modules; once for each install and each change of their list. */
function isTapBuilt(): boolean {
  const built = mtime('node_modules/@tapjs/test/test-built/dist/esm/index.js')
  return built > mtime('.taprc') && built > mtime('node_modules/.package-lock.json')
}

function mtime(path: string): number {
  return statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function testFiles(): string[] {
  if (positionals.length > 0) return positionals.flatMap(testFilesAt)
  return globSync('test/**/*.test.ts', { cwd: ROOT })
    .filter((file) => values.clients || !file.startsWith('test/clients/'))
    .filter((file) => values.binary || !file.startsWith('test/binary/'))
    .sort()
}

/** Tests on a real PostgreSQL start one by themselves, but cannot fetch it. Says what is missing for these files. */
function missingFor(files: string[]): string[] {
  const needs = (what: RegExp) => files.some((file) => what.test(readFileSync(join(ROOT, file), 'utf8')))
  const missing: string[] = []
  if (postgresPrograms() === null && needs(/support\/postgres\.ts/)) missing.push('postgresql')
  if (pgbouncerProgram() === null && needs(/PgBouncerProcess/)) missing.push('pgbouncer')
  return missing
}

function testFilesAt(path: string): string[] {
  const files = globSync([path, join(path, '**/*.test.ts')], { cwd: ROOT }).filter((file) => file.endsWith('.test.ts'))
  if (files.length === 0) {
    process.stderr.write(`${path}: no test file, and no folder with any\n`)
    process.exit(2)
  }
  return files.sort()
}

if (positionals.length === 0) {
  note('types', await run('tsc', ['--noEmit']))
  note('style', await run('biome', ['check', '--error-on-warnings', '.']))
}
if (!isTapBuilt()) await run('tap', ['build'])
const before = counts.passed
const files = testFiles()
const missing = missingFor(files)
if (missing.length > 0) {
  note(`some of these tests need a server of their own to start: apt-get install ${missing.join(' ')}`, false)
}
await runTests(files)
if (counts.passed === before) note('at least one test passed', false)
const leaks = leakedSecrets(scratch)
for (const leak of leaks) process.stdout.write(`a secret of the tests is in ${leak}\n`)
note('no secret that the tests used is in any output', leaks.length === 0)
rmSync(scratch, { recursive: true, force: true })
if (counts.skipped > 0) process.stdout.write(`${counts.skipped} skipped\n`)
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`)
process.exit(counts.failed === 0 ? 0 : 1)

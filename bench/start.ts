import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { median } from './lib/load.ts'
import { NODE_FLAGS } from './lib/subjects.ts'

// What does starting cost? Compares the single binary and the run from source, alternating in one run, several rounds:
// time until --help has been printed, time from the start of `serve` until it listens, and the memory of an idle gateway,
// of which a bare process that loads the same packages and has one worker thread is the measure. Times are beside those of
// a Node that does nothing.

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    idle: { type: 'string', default: '5' },
  },
})
const ROUNDS = Number(values.rounds)
const IDLE_SECONDS = Number(values.idle)
const GOALS = { helpMs: 400, listenMs: 600, rss: 1.3 }

const ROOT = join(import.meta.dirname, '..')
const BINARY = join(ROOT, 'dist', 'subgate')
const SUBJECTS: Record<string, string[]> = {
  binary: [BINARY],
  source: [join(ROOT, 'bin', 'subgate')],
}
const NOTHING = [process.execPath, ...NODE_FLAGS, '-e', '0']

/** Loads the packages that `serve` works with, and does nothing: one thread that listens, one that has a database. */
const BARE_PROCESS = `
  import { createServer } from 'node:http'
  import { Worker } from 'node:worker_threads'
  import BetterSqlite3 from 'better-sqlite3'
  import 'commander'
  import 'kysely'
  import 'pino'
  import 'undici'
  import 'yaml'
  import 'zod'
  const connection = new BetterSqlite3(':memory:')
  new Worker(\`
    require('kysely')
    const connection = new (require('better-sqlite3'))(':memory:')
    require('node:worker_threads').parentPort.on('message', () => connection.close())
  \`, { eval: true, execArgv: [] })
  createServer(() => connection.close()).listen(0, '127.0.0.1', () => console.error('it listens on loopback'))`
const BARE = [process.execPath, ...NODE_FLAGS, '--input-type=module', '-e', BARE_PROCESS]

const home = mkdtempSync(join(tmpdir(), 'subgate-bench-'))
const env = {
  HOME: home,

  PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
}

function start([program = '', ...before]: string[], args: string[] = []): ChildProcess {
  return spawn(program, [...before, ...args], { env, cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** How long a program runs until it has ended, in ms. */
async function timeToEnd(command: string[], args: string[] = []): Promise<number> {
  const startedAt = performance.now()
  const child = start(command, args)
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`)
  return performance.now() - startedAt
}

/** Starts a server; resolves when it says that it listens. */
async function listening(command: string[], args: string[] = []): Promise<{ child: ChildProcess; ms: number }> {
  const startedAt = performance.now()
  const child = start(command, args)
  const { promise, resolve, reject } = Promise.withResolvers<{ child: ChildProcess; ms: number }>()
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk
    if (said.includes('listens on')) resolve({ child, ms: performance.now() - startedAt })
  })
  child.on('exit', () => reject(new Error(`${command.join(' ')} ended: ${said}`)))
  return promise
}

async function stop(child: ChildProcess): Promise<void> {
  const over = once(child, 'exit')
  child.kill('SIGTERM')
  await over
}

interface Memory {
  /** All that is resident, and the part of it that is no file's (what the page cache holds of a program varies). */
  rss: number
  own: number
}

function memoryMb(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mb = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
  return { rss: mb('VmRSS'), own: mb('RssAnon') }
}

/** What a server holds when it has been idle for a while. */
async function idleMemory(command: string[], args: string[] = []): Promise<Memory> {
  const { child } = await listening(command, args)
  await sleep(IDLE_SECONDS * 1000)
  if (child.exitCode !== null) throw new Error(`${command.join(' ')} ended with ${child.exitCode}`)
  const memory = memoryMb(child.pid as number)
  await stop(child)
  return memory
}

const SERVE = ['serve', '--listen', '127.0.0.1:0']

/** The first start after a change fills caches. */
async function warmUp(): Promise<void> {
  for (const command of Object.values(SUBJECTS)) {
    const { status, stderr } = spawnSync(command[0] as string, ['init', '--yes'], { env, encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    const { child } = await listening(command, SERVE)
    await sleep(1000)
    await stop(child)
  }
}

async function measureTimes(): Promise<void> {
  const help = new Map<string, number[]>(Object.keys(SUBJECTS).map((name) => [name, []]))
  const listen = new Map<string, number[]>(Object.keys(SUBJECTS).map((name) => [name, []]))
  const nothing: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    nothing.push(await timeToEnd(NOTHING))
    for (const [name, command] of Object.entries(SUBJECTS)) {
      help.get(name)?.push(await timeToEnd(command, ['--help']))
      const { child, ms } = await listening(command, SERVE)
      listen.get(name)?.push(ms)
      await stop(child)
    }
  }
  const node = median(nothing)
  console.log(`\nTime, ${ROUNDS} rounds, medians; a Node that does nothing takes ${node.toFixed(0)} ms`)
  console.log('| | --help ms | of Node | goal | listening ms | of Node | goal |')
  console.log('| --- | ---: | ---: | --- | ---: | ---: | --- |')
  for (const name of Object.keys(SUBJECTS)) {
    const [helpMs, listenMs] = [median(help.get(name) ?? []), median(listen.get(name) ?? [])]
    console.log(
      `| ${name} | ${helpMs.toFixed(0)} | ${(helpMs / node).toFixed(1)} | ${verdict(helpMs, GOALS.helpMs)} ` +
        `| ${listenMs.toFixed(0)} | ${(listenMs / node).toFixed(1)} | ${verdict(listenMs, GOALS.listenMs)} |`,
    )
  }
}

const verdict = (value: number, goal: number) => `${value <= goal ? 'met' : 'MISSED'} (${goal})`

async function measureMemory(): Promise<void> {
  const bare = await idleMemory(BARE)
  console.log(`\nMemory of an idle serve after ${IDLE_SECONDS} s, beside a bare process with the same packages`)
  console.log('| | RSS MB | of bare | goal | of it no file’s MB | of bare |')
  console.log('| --- | ---: | ---: | --- | ---: | ---: |')
  console.log(`| bare | ${bare.rss.toFixed(0)} | 1.00 | | ${bare.own.toFixed(0)} | 1.00 |`)
  for (const [name, command] of Object.entries(SUBJECTS)) {
    const { rss, own } = await idleMemory(command, SERVE)
    const [ofBare, ownOfBare] = [rss / bare.rss, own / bare.own]
    console.log(
      `| ${name} | ${rss.toFixed(0)} | ${ofBare.toFixed(2)} | ${verdict(ofBare, GOALS.rss)} | ${own.toFixed(0)} | ${ownOfBare.toFixed(2)} |`,
    )
  }
}

if (!existsSync(BINARY)) throw new Error('there is no dist/subgate: npm run build makes it')
console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}; load ${loadavg()[0]?.toFixed(2)} at the start`,
)
try {
  await warmUp()
  await measureTimes()
  await measureMemory()
} finally {
  rmSync(home, { recursive: true, force: true })
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Script } from '../../src/demo/fake-upstream.ts'
import type { ProgramResult } from '../support/clients.ts'
import { startGateway } from '../support/gateway.ts'
import { Cell, PLACES, type Place, sceneAt, USED } from './cells.ts'
import { newClaudeHome, runClaude, runClaudeAllowing } from './run-claude.ts'
import { runCodex } from './run-codex.ts'
import { runGemini } from './run-gemini.ts'

/** Every program at every place: its own vendor's account, and those whose format is another. */

// The first run fetches the programs, which are large.
t.setTimeout(900_000)
// Two at a time: they mostly wait for themselves to start.
t.jobs = 2

const PROMPT = 'Run the tool, then tell me.'
/** Which no request says but one that brings the tool's result. */
const TOOL_SAYS = 'from-42-tool'
const COMMAND = `printf 'from-%s-tool' 42`
const DONE = 'All is done.'

interface Program {
  /** What it asks for. */
  model: string
  /** What its model does: it calls tools, the last of which says TOOL_SAYS, and then says DONE. */
  turns(place: Place): Script[]
  /** Runs it with that in view. */
  work(prompt: string, at: Cell): Promise<ProgramResult>
  /** Further looks at what it printed. */
  look?(t: Test, printed: string): void
  /** Asks it for a word. */
  ask(prompt: string, at: Cell): Promise<ProgramResult>
}

let calls = 0
function calling(name: string, input: unknown): Script {
  return { text: ['I am on it.'], toolUse: { id: `call_${++calls}`, name, input } }
}

/** How Codex is told to use its tool where its model writes programs that do. */
const CODE = `const ran = await tools.exec_command({ cmd: "${COMMAND}" }); text(JSON.stringify(ran))`

function codexAsking(model: string, turns: Program['turns']): Program {
  const run: Program['ask'] = (prompt, { url, key }) =>
    runCodex(['-m', model, '-s', 'danger-full-access', prompt], { url, key, home: newHome() })
  return { model, turns, work: run, ask: run }
}

function geminiAsking(model: string, args: string[], turns: Program['turns']): Program {
  const run =
    (...flags: string[]): Program['ask'] =>
    (prompt, { url, key }) =>
      runGemini([prompt, ...flags, '--approval-mode', 'yolo'], { url, key, home: newHome() })
  return { model, turns, work: run(...args), ask: run('-m', model) }
}

const PROGRAMS: Record<string, Program> = {
  'Claude Code, into Plan Mode and out of it': {
    model: 'claude-opus-5-5',
    turns: () => [
      calling('EnterPlanMode', {}),
      calling('ExitPlanMode', { plan: 'Run it.' }),
      calling('Bash', { command: COMMAND, description: 'Says something' }),
    ],
    work: (prompt, { url, key }) => runClaudeAllowing(prompt, { url, key, home: newClaudeHome(folder) }),
    look(t, printed) {
      const modes = [...printed.matchAll(/"subtype":"status".*?"permissionMode":"(\w+)"/g)]
      t.same(
        modes.map(([, mode]) => mode),
        ['plan', 'default'],
        'Plan Mode was entered and left',
      )
    },
    ask: (prompt, { url, key }) => runClaude([prompt], { url, key, home: newClaudeHome(folder) }),
  },
  'Codex, whose model calls a function': codexAsking('claude-sonnet-5-5', () => [
    calling('exec_command', { cmd: COMMAND }),
  ]),
  'Codex, whose model writes programs': codexAsking('gpt-6.1-sol', ({ kind }) => [
    // Only OpenAI has tools that take free text, and namespaces.
    kind === 'openai' || kind === 'chatgpt' ? calling('exec', CODE) : calling('functions__exec', { input: CODE }),
  ]),
  // It asks a small model first which one to take.
  'Gemini CLI': geminiAsking('gemini-3.8-flash', [], () => [
    { text: [JSON.stringify({ complexity_reasoning: 'One step.', complexity_score: 5 })] },
    calling('run_shell_command', { command: COMMAND, description: 'Says something' }),
  ]),
}

const folder = mkdtempSync(join(tmpdir(), 'subgate-clients-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
let homes = 0
const newHome = () => join(folder, `home-${++homes}`)

const gw = await startGateway(t, {
  config: { 'gateway.max_attempts': 1 },
  async setUp(site) {
    const cells = []
    for (const name of Object.keys(PROGRAMS)) {
      for (const place of PLACES) {
        cells.push({ name, place, work: await sceneAt(site, place), ask: await sceneAt(site, place) })
      }
    }
    return cells
  },
})

/** A tool is called, its result goes back, and the answer to that is shown. */
async function works(t: Test, program: Program, place: Place, cell: Cell): Promise<void> {
  const turns = [...program.turns(place), { text: [DONE] }]
  cell.next(...turns)
  const { code, stdout, stderr } = await program.work(PROMPT, cell)
  t.equal(code, 0, stderr)
  t.match(stdout, DONE)
  program.look?.(t, stdout)
  const { sent } = cell
  t.equal(sent.length, turns.length, 'one call for each turn')
  const last = sent.at(-1)?.body ?? ''
  for (const part of [PROMPT, 'I am on it.', TOOL_SAYS]) t.ok(last.includes(part), `its model was told of: ${part}`)
  const rows = await cell.rows()
  const row = { outcome: 'complete', upstreamModel: place.model, usage: USED }
  t.match(
    rows,
    turns.map(() => row),
  )
  t.match(rows.at(-1), { stream: true, requestedModel: program.model })
}

/** An answer that breaks off in its middle is not taken for one: it is asked for again. */
async function asksAgain(t: Test, program: Program, cell: Cell): Promise<void> {
  const words = 'This is not all that there is to say'.split(/(?<= )/)
  cell.next({ text: words, eventDelayMs: 5, breaks: { after: 8, how: 'clean_end' } }, { text: [DONE] })
  const { code, stdout, stderr } = await program.ask('Say something.', cell)
  t.equal(code, 0, stderr)
  t.match(stdout, DONE)
  const rows = await cell.rows()
  t.same(
    rows.map(({ outcome }) => outcome),
    ['upstream_cut', 'complete'],
  )
}

for (const [name, program] of Object.entries(PROGRAMS)) {
  for (const { place, work, ask } of gw.scenes.filter((cell) => cell.name === name)) {
    t.test(`${name}, at ${place.name}`, { buffered: true }, async (t) => {
      await t.test('a tool round trip', (t) => works(t, program, place, new Cell(gw, work)))
      await t.test('a stream that is cut', (t) => asksAgain(t, program, new Cell(gw, ask)))
    })
  }
}

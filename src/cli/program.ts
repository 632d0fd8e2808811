import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { type ErrorCode, isGatewayError } from '../domain/errors.ts'
import { VERSION } from '../version.ts'
import { Context, type GlobalFlags, type Io } from './context.ts'
import { fileTrouble } from './file-trouble.ts'
import { WrongChoice, withNulls } from './options.ts'
import { Output } from './output.ts'

/** What a command's action gets beside its arguments and flags. */
export type Action<Flags> = (context: Context, flags: Flags, ...args: string[]) => Promise<void>

/** Adds flags, verbs and actions to the empty command of a noun. */
export type Fill = (command: Command, act: Act) => void

/** Wraps an action so that commander can call it. */
export type Act = <Flags>(action: Action<Flags>) => (...args: unknown[]) => Promise<void>

/** A top-level word. Its module is loaded only when it is used, so that `--help` starts fast. */
interface Noun {
  summary: string
  group: string
  load: () => Promise<{ fill: Fill }>
}

const NOUNS: Record<string, Noun> = {
  init: {
    group: 'Start:',
    summary: 'set up configuration, keys and database',
    load: () => import('./commands/init.ts'),
  },
  serve: { group: 'Start:', summary: 'run the gateway', load: () => import('./commands/serve.ts') },
  demo: {
    group: 'Start:',
    summary: 'try it with a built-in upstream, leaving nothing behind',
    load: () => import('./commands/demo.ts'),
  },
  env: {
    group: 'Start:',
    summary: 'print the lines that point a client at the gateway',
    load: () => import('./commands/env.ts'),
  },
  account: { group: 'Manage:', summary: 'upstream credentials', load: () => import('./commands/account.ts') },
  group: {
    group: 'Manage:',
    summary: 'pools of accounts with a price multiplier',
    load: () => import('./commands/group.ts'),
  },
  user: {
    group: 'Manage:',
    summary: 'who may call, and what they have to spend',
    load: () => import('./commands/user.ts'),
  },
  key: { group: 'Manage:', summary: 'API keys that users call with', load: () => import('./commands/key.ts') },
  price: { group: 'Manage:', summary: 'what models cost', load: () => import('./commands/price.ts') },
  usage: { group: 'Look:', summary: 'calls, tokens and money', load: () => import('./commands/usage.ts') },
  status: { group: 'Look:', summary: 'health of the running gateway', load: () => import('./commands/status.ts') },
  slot: { group: 'Look:', summary: 'who holds which place, and who waits', load: () => import('./commands/slot.ts') },
  session: {
    group: 'Look:',
    summary: 'which account a conversation is bound to',
    load: () => import('./commands/session.ts'),
  },
  doctor: {
    group: 'Look:',
    summary: 'check everything, with a remedy for each finding',
    load: () => import('./commands/doctor.ts'),
  },
  config: {
    group: 'Maintain:',
    summary: 'what is configured, and what can be',
    load: () => import('./commands/config.ts'),
  },
  migrate: {
    group: 'Maintain:',
    summary: 'bring the database to this version',
    load: () => import('./commands/migrate.ts'),
  },
  completion: {
    group: 'Maintain:',
    summary: 'completion for bash, zsh or fish',
    load: () => import('./commands/completion.ts'),
  },
}

/** Exit codes that scripts rely on. */
const DONE = 0
const REFUSED = 1
const WRONG_USAGE = 2
const UNREACHABLE = 3
const BUG = 70

/** Of our own errors, those that are not simply `refused`. */
const EXIT_CODES: Partial<Record<ErrorCode, number>> = { unavailable: UNREACHABLE, internal: BUG }

const HELP_HINT = '(add --help for what is possible)'

/** Runs one command line and resolves with its exit code. Never throws. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  const flags: GlobalFlags = {}
  const program = buildProgram(io, flags)
  try {
    await program.parseAsync(asHelpFlag(argv), { from: 'user' })
    return DONE
  } catch (error) {
    return exitCodeOf(error, outputFor(io, flags))
  }
}

function exitCodeOf(error: unknown, out: Output): number {
  if (error instanceof WrongChoice) out.error(error.message, HELP_HINT)
  if (error instanceof InvalidArgumentError) out.error(error.message, undefined) // found by an action, not by the parser
  if (error instanceof CommanderError) {
    if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return DONE
    return WRONG_USAGE
  }
  if (error instanceof ExitCode) return error.code
  const trouble = fileTrouble(error)
  if (trouble !== null) {
    out.error(trouble, undefined)
    return REFUSED
  }
  if (!isGatewayError(error)) {
    out.bug(error)
    return BUG
  }
  out.error(error.message, error.facts.hint)
  return EXIT_CODES[error.code] ?? REFUSED
}

/** Ends a command with a code after it has said all that there is to say. */
export class ExitCode extends Error {
  readonly code: number
  constructor(code: number) {
    super(`exit ${code}`)
    this.code = code
  }
}

/** `help user add` is `user add --help`, and no word at all asks for help too. Help on what is no command is a mistake. */
function asHelpFlag(argv: readonly string[]): string[] {
  if (argv.length === 0) return ['--help']
  const asked = argv[0] === 'help' ? [...argv.slice(1), '--help'] : [...argv]
  const [first = ''] = asked
  return first.startsWith('-') || first in NOUNS ? asked : asked.filter((word) => word !== '--help')
}

/** The whole command tree; a noun's own part is loaded when it is reached. */
function buildProgram(io: Io, flags: GlobalFlags): Command {
  const program = new Command('subgate')
  program
    .description('Self-hosted AI API gateway: one daemon, one binary.')
    .version(`subgate ${VERSION}`, '--version', 'print the version')
    .option('--config <file>', 'configuration file')
    .option('--data-dir <dir>', 'where database, keys and sockets live')
    .option('--json', 'print data as JSON')
    .option('--quiet', 'print data only, no talk')
    .option('--no-color', 'no colours (also NO_COLOR)')
    .option('--utc', 'times in UTC')
    .helpOption('--help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      getOutHelpWidth: () => (io.stdout.isTTY ? (io.stdout.columns ?? 80) : 100),
      getOutHasColors: () => wantsColor(io, flags) && io.stdout.isTTY === true,
      getErrHasColors: () => wantsColor(io, flags) && io.stderr.isTTY === true,
    })
    .configureHelp({
      styleTitle: (text) => `\u001b[1m${text}\u001b[22m`,
      styleCommandText: (text) => `\u001b[36m${text}\u001b[39m`,
      styleOptionTerm: (text) => `\u001b[36m${text}\u001b[39m`,
      styleSubcommandTerm: (text) => `\u001b[36m${text}\u001b[39m`,
    })
    .showHelpAfterError(HELP_HINT)
    .addHelpText('after', FIRST_STEPS)
    .addHelpText('afterAll', ({ command }) => alsoPossible(command))
    .hook('preSubcommand', async (_program, command) => {
      Object.assign(flags, program.opts())
      await fillNoun(command, io, flags)
    })
  for (const [name, { summary, group }] of Object.entries(NOUNS)) {
    program.command(name).summary(summary).description(capitalized(summary)).helpGroup(group).helpCommand(false)
  }
  return program
}

async function fillNoun(command: Command, io: Io, flags: GlobalFlags): Promise<void> {
  const noun = NOUNS[command.name()]
  if (!noun || command.parent?.parent) return
  const act: Act =
    (action) =>
    async (...parameters) => {
      // commander hands over the arguments, the flags and the command itself.
      const command = parameters.pop() as Command
      const own = parameters.pop() as Parameters<typeof action>[1]
      Object.assign(flags, command.optsWithGlobals())
      await using context = new Context(io, outputFor(io, flags), flags)
      await action(context, withNulls(own as object) as typeof own, ...(parameters as string[]))
    }
  const { fill } = await noun.load()
  fill(command, act)
  for (const verb of command.commands) if (!verb.description()) verb.description(capitalized(verb.summary()))
}

/** The whole tree with every noun filled, for completion. */
export async function wholeProgram(io: Io): Promise<Command> {
  const flags: GlobalFlags = {}
  const program = buildProgram(io, flags)
  for (const command of program.commands) await fillNoun(command, io, flags)
  return program
}

function outputFor(io: Io, flags: GlobalFlags): Output {
  return new Output(io, {
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
    utc: flags.utc ?? false,
    color: wantsColor(io, flags),
  })
}

function wantsColor(io: Io, flags: GlobalFlags): boolean {
  return flags.color !== false && !io.env.NO_COLOR && io.env.TERM !== 'dumb'
}

function capitalized(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/** What the help of a command leaves to others. */
function alsoPossible(command: Command): string {
  if (!command.parent) return ''
  const verbs =
    command.commands.length > 0 ? `\n'subgate ${command.name()} <command> --help' shows flags and examples.` : ''
  return `${verbs}\nEverywhere: ${GLOBAL_FLAGS}; see subgate --help.`
}

const GLOBAL_FLAGS = '--config, --data-dir, --json, --quiet, --no-color, --utc'

const FIRST_STEPS = `
Examples:
  subgate demo                          try it at once, with a built-in upstream
  subgate init                          set up, with a guide
  subgate account import --from-env     take the API key of this shell
  subgate key issue admin@localhost     make a key for a client
  subgate serve                         run the gateway

'subgate <command> --help' shows the flags and examples of a command.`

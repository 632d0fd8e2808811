import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { text as readAll } from 'node:stream/consumers'
import { type Config, type LoadedConfig, loadConfig } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'
import { systemClock } from '../lib/clock.ts'
import { newId } from '../lib/id.ts'
import { openSecrets, type Workspace } from '../operations/workspace.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { createLogger } from './logger.ts'
import type { Output, Streams } from './output.ts'
import { askSecret, canAsk, confirm, type Terminal } from './prompt.ts'

/** The process as a command sees it. */
export interface Io extends Streams, Terminal {
  stdin: Terminal['stdin']
  stderr: Streams['stderr']
  env: NodeJS.ProcessEnv
  cwd: string
}

/** Options that every command takes. */
export interface GlobalFlags {
  config?: string
  dataDir?: string
  json?: boolean
  quiet?: boolean
  color?: boolean
  utc?: boolean
}

/** Where a secret comes from: never from the command line itself. */
export interface SecretFlags {
  fromEnv?: string
  fromFile?: string
  apiKeyStdin?: boolean
}

/** What a command works with. Configuration and store are opened when they are asked for, and closed at the end. */
export class Context implements AsyncDisposable {
  readonly io: Io
  readonly out: Output
  readonly flags: GlobalFlags
  readonly nowMs = systemClock()
  #loaded: LoadedConfig | null = null
  readonly #warned = new Set<string>()
  #store: Store | null = null

  constructor(io: Io, out: Output, flags: GlobalFlags) {
    this.io = io
    this.out = out
    this.flags = flags
  }

  /** The configuration, with values of this command's own flags by key path. Warnings are told once. */
  load(values: Record<string, unknown> = {}): LoadedConfig {
    if (this.#loaded) return this.#loaded
    const { env, cwd, stderr } = this.io
    const flags = { data_dir: this.flags.dataDir, ...values }
    this.#loaded = loadConfig({ file: this.flags.config, flags, env, cwd, terminal: stderr.isTTY === true })
    for (const warning of this.#loaded.warnings) {
      if (!this.#warned.has(warning)) this.out.warn(warning)
      this.#warned.add(warning)
    }
    return this.#loaded
  }

  /** Reads the configuration again, after it was written. */
  reload(values: Record<string, unknown> = {}): LoadedConfig {
    this.#loaded = null
    return this.load(values)
  }

  get config(): Config {
    return this.load().config
  }

  async store(): Promise<Store> {
    const { config } = this
    this.#store ??= await openStore(config, 'command', {
      id: newId('prs'),
      clock: systemClock,
      log: createLogger(config.log),
    })
    return this.#store
  }

  /** The store together with the master key. */
  async work(): Promise<Workspace> {
    const { config } = this
    const store = await this.store()
    return { config, store, secrets: await openSecrets(config, store), by: this.actor, clock: systemClock }
  }

  /** Who acts, for audit log and ledger. */
  get actor(): string {
    try {
      return `cli:${userInfo().username}`
    } catch {
      return `cli:${process.getuid?.() ?? 'unknown'}` // a user id without an entry, as in containers
    }
  }

  /** Asks before something that cannot be undone. Throws `conflict` without a yes; without a terminal `--yes` is needed. */
  async sure(question: string, yes: boolean | undefined): Promise<void> {
    if (yes) return
    if (!canAsk(this.io)) throw new GatewayError('conflict', 'this cannot be undone: add --yes to do it')
    if (!(await confirm(this.io, question))) throw new GatewayError('conflict', 'nothing was done')
  }

  /** Reads a secret from where the flags say, or asks for it. Throws `invalid_request` with the ways to give it. */
  async secret(flags: SecretFlags, what: string): Promise<string> {
    if (flags.fromEnv !== undefined) {
      const value = this.io.env[flags.fromEnv]
      if (!value) throw new GatewayError('invalid_request', `the environment has no ${flags.fromEnv}`)
      return value.trim()
    }
    if (flags.fromFile !== undefined && flags.fromFile !== '-') return readFileSync(flags.fromFile, 'utf8').trim()
    if (flags.apiKeyStdin || flags.fromFile === '-') return (await readAll(this.io.stdin as never)).trim()
    if (canAsk(this.io)) return (await askSecret(this.io, what)).trim()
    throw new GatewayError('invalid_request', `where is the ${what}?`, {
      hint: 'Give it by --from-env NAME, --from-file PATH, or --api-key-stdin; secrets are never taken from the command line.',
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]()
  }
}

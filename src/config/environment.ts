import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { nearest } from '../lib/pattern.ts'
import type { ConfigKey } from './schema.ts'
import { fileProblem, type Written } from './written.ts'

const PREFIX = 'SUBGATE_'

/** What the environment says of keys. A name that is set to nothing is not set: compose files pass those on. */
export class Environment {
  readonly #env: NodeJS.ProcessEnv
  readonly #cwd: string
  /** The names of all keys. */
  readonly #names: ReadonlySet<string>
  /** Those, the files of secrets, and the one that is read before there are keys. */
  readonly #meaningful: ReadonlySet<string>
  readonly #problems: string[]

  constructor({ env, cwd }: { env: NodeJS.ProcessEnv; cwd: string }, keys: readonly ConfigKey[], problems: string[]) {
    this.#env = env
    this.#cwd = cwd
    this.#names = new Set(keys.flatMap((key) => [key.env, ...(key.legacyEnv ?? [])]))
    const files = keys.filter(({ secret }) => secret).map((key) => `${key.env}_FILE`)
    this.#meaningful = new Set([...this.#names, ...files, 'SUBGATE_CONFIG'])
    this.#problems = problems
  }

  /** Unprefixed names count only beside RUN_MODE: a name exported for another project must not move anybody's data. */
  valueOf(key: ConfigKey): Written | undefined {
    const names = [key.env, ...(this.#env.RUN_MODE ? (key.legacyEnv ?? []) : [])]
    for (const name of names) {
      const value = this.#env[name]
      const secret = key.secret ? this.#fromFile(`${name}_FILE`) : undefined
      if (value && secret) this.#problems.push(`${name} and ${secret.place} are both set: only one may be`)
      if (value) return { value, place: name, folder: this.#cwd }
      if (secret) return secret
    }
    return undefined
  }

  /** Secrets in files, as container platforms mount them; a line end behind it does not belong to the secret. */
  #fromFile(name: string): Written | undefined {
    const path = this.#env[name]
    if (!path || this.#names.has(name)) return undefined // SUBGATE_MASTER_KEY_FILE is a key of its own
    try {
      const value = readFileSync(resolve(this.#cwd, path), 'utf8').replace(/\r?\n$/, '')
      return { value, place: name, folder: this.#cwd }
    } catch (error) {
      this.#problems.push(`${name}: ${path}: ${fileProblem(error)}`)
      return undefined
    }
  }

  /** Names with our prefix that mean nothing, but nearly something. */
  slips(): string[] {
    const ours = [...this.#names].filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length))
    return Object.keys(this.#env).flatMap((name) => {
      if (!name.startsWith(PREFIX) || this.#meaningful.has(name)) return []
      const meant = nearest(name.slice(PREFIX.length), ours)
      return meant ? [`${name} is no setting and is ignored; did you mean ${PREFIX}${meant}?`] : []
    })
  }
}

import { createHash } from 'node:crypto'
import type { HostedTool, Tool, ToolCallBlock } from './neutral.ts'

/** A tool that clients run. */
export type OwnTool = Exclude<Tool, HostedTool>

/** What a wire allows for the name of a tool. */
export interface NameRules {
  charactersMax: number
  /** One character that may not be in a name. */
  forbidden: RegExp
}

/** `^[a-zA-Z0-9_-]{1,64}$`, as Anthropic and OpenAI have it. */
export const COMMON_NAMES: NameRules = { charactersMax: 64, forbidden: /[^a-zA-Z0-9_-]/g }

const SEPARATOR = '__'
const HASH_CHARACTERS = 8

/**
 * How the tools of one request are called on a wire that has no namespaces and shorter names, and which tool a wire's name means. A name that
 * fits stays as it is; any other becomes one that does, the same in each turn of a conversation, and no two tools get the same.
 */
export class ToolNames {
  readonly #rules: NameRules
  readonly #byWireName = new Map<string, OwnTool>()
  readonly #wireNames = new Map<string, string>()

  constructor(tools: readonly Tool[], rules: NameRules) {
    this.#rules = rules
    const own = tools.filter((tool) => tool.kind !== 'hosted')
    // Those that keep their names come first, so that no made-up name takes one of theirs.
    const isPlain = ({ namespace, name }: OwnTool) => fitted(namespace, name, rules) === name
    for (const tool of [...own.filter(isPlain), ...own.filter((tool) => !isPlain(tool))]) this.#add(tool)
  }

  /** Also for a tool that is only spoken of in the conversation's history. */
  wireName(namespace: string | null, name: string): string {
    return this.#wireNames.get(keyOf(namespace, name)) ?? fitted(namespace, name, this.#rules)
  }

  /** Null for a name that a model made up. */
  toolOf(wireName: string): OwnTool | null {
    return this.#byWireName.get(wireName) ?? null
  }

  /** Which tool a model means that calls one so; a name that it made up stays as it is. */
  called(wireName: string): Pick<ToolCallBlock, 'namespace' | 'name' | 'tool'> {
    const tool = this.toolOf(wireName)
    return { namespace: tool?.namespace ?? null, name: tool?.name ?? wireName, tool: tool?.kind ?? 'function' }
  }

  #add(tool: OwnTool): void {
    const { namespace, name } = tool
    const fitting = fitted(namespace, name, this.#rules)
    const wireName = this.#byWireName.has(fitting) ? hashed(fitting, namespace, name, this.#rules) : fitting
    this.#byWireName.set(wireName, tool)
    this.#wireNames.set(keyOf(namespace, name), wireName)
  }
}

function keyOf(namespace: string | null, name: string): string {
  return `${namespace ?? ''}\n${name}`
}

/** The name as it is if it fits; else with what is forbidden replaced, or shortened, and then with a hash that keeps it apart. */
function fitted(namespace: string | null, name: string, rules: NameRules): string {
  const whole = namespace === null ? name : `${namespace}${SEPARATOR}${name}`
  const allowed = whole.replace(rules.forbidden, '_')
  const fits = allowed === whole && whole.length <= rules.charactersMax && whole !== ''
  return fits ? whole : hashed(allowed, namespace, name, rules)
}

function hashed(readable: string, namespace: string | null, name: string, { charactersMax }: NameRules): string {
  const hash = createHash('sha256').update(keyOf(namespace, name)).digest('hex').slice(0, HASH_CHARACTERS)
  return `${readable.slice(0, charactersMax - HASH_CHARACTERS - 1)}_${hash}`
}

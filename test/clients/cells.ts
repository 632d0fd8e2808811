import type { Script, SeenCall } from '../../src/demo/fake-upstream.ts'
import { secretOf } from '../../src/domain/account.ts'
import { ACCOUNTS, type AccountKind } from '../support/accounts.ts'
import type { Scene, Site, TestGateway } from '../support/gateway.ts'

/** Where clients are answered: an account of each kind, and the model that it is asked for, whatever the client asked for. */
export interface Place {
  name: string
  kind: AccountKind
  model: string
}

export const PLACES: readonly Place[] = [
  { name: 'anthropic', kind: 'anthropic', model: 'claude-opus-5-5' },
  { name: 'openai', kind: 'openai', model: 'gpt-5.5' },
  { name: 'a ChatGPT login', kind: 'chatgpt', model: 'gpt-5.5' },
  { name: 'gemini', kind: 'gemini', model: 'gemini-3.1-pro-preview' },
  { name: 'Code Assist', kind: 'code assist', model: 'gemini-3.1-pro-preview' },
  { name: 'antigravity', kind: 'antigravity', model: 'gemini-3.1-pro-preview' },
  { name: 'Claude on antigravity', kind: 'antigravity', model: 'claude-opus-5-5' },
]

/** A user whose calls all go to one account of the place. */
export function sceneAt(site: Site, { kind, model }: Place): Promise<Scene> {
  return site.scene({ accounts: [{ ...ACCOUNTS[kind](site.upstream.url), modelMap: { '*': model } }] })
}

const USAGE = { input: 40, output: 30, cacheRead: 8 }
/** As a usage row has it. */
export const USED = { inputTokens: 40, cacheReadTokens: 8, outputTokens: 30 }

/** One client at one place. */
export class Cell {
  readonly url: string
  readonly key: string
  readonly #gw: TestGateway
  readonly #userId: string
  readonly #credential: string

  constructor(gw: TestGateway, scene: Scene) {
    this.#gw = gw
    this.url = gw.url
    this.key = scene.key
    this.#userId = scene.user.id
    const account = gw.gateway.directory.account(scene.accounts[0]?.id ?? '')
    if (!account) throw new Error('the scene has no account')
    this.#credential = secretOf(account.credentials())
  }

  /** The next calls are answered so. */
  next(...scripts: Script[]): void {
    this.#gw.site.script(this.#credential, ...scripts.map((script) => ({ usage: USAGE, ...script })))
  }

  /** What the upstream was sent, call by call. */
  get sent(): SeenCall[] {
    return this.#gw.upstream.seen.filter(({ headers }) => JSON.stringify(headers).includes(this.#credential))
  }

  /** Its usage rows, once nothing runs any more, oldest first. */
  async rows() {
    const rows = await this.#gw.settled()
    return rows.filter(({ userId }) => userId === this.#userId).sort((a, b) => (a.id < b.id ? -1 : 1))
  }
}

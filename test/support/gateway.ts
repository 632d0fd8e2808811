import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import { type Daemon, startDaemon } from '../../src/cli/daemon.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { FakeUpstream, type Script, type SeenCall } from '../../src/demo/fake-upstream.ts'
import type { ApiKey } from '../../src/domain/api-key.ts'
import type { Group } from '../../src/domain/group.ts'
import type { User } from '../../src/domain/user.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { newId } from '../../src/lib/id.ts'
import { type Logger, redact } from '../../src/lib/log.ts'
import { addAccount, type NewAccount } from '../../src/operations/add-account.ts'
import { type IssueKey, issueKey } from '../../src/operations/issue-key.ts'
import { prepareDataDir } from '../../src/operations/set-up.ts'
import { openSecrets, type Workspace } from '../../src/operations/workspace.ts'
import { openStore } from '../../src/store/open.ts'
import type { AddGroup, AddUser, Store, StoredAccount, StoredCall } from '../../src/store/store.ts'
import { type Answer, type CallOptions, ClientCall, until } from './client.ts'
import { collectOutput, keepSecret, secretKey } from './secrets.ts'

export interface LogLine {
  level: number
  msg: string
  [field: string]: unknown
}

/** An account as a test wants it. */
export interface WantedAccount extends Partial<NewAccount> {
  /** How its calls for a message are answered, one after the other; after that as the real service would. */
  scripts?: Script[]
  /** How its token counts and model lists are answered, each time. */
  elsewhere?: Script
}

/** Somebody who may call: a user with a key, in a group of their own with accounts of their own, unless told otherwise. */
export interface Scene {
  user: User
  group: Group
  accounts: StoredAccount[]
  apiKey: ApiKey
  /** What clients send. */
  key: string
}

export interface WantedScene {
  accounts?: WantedAccount[]
  group?: Partial<AddGroup> | Group
  user?: Partial<AddUser> | User
  key?: Partial<IssueKey>
}

/** The operator's side of a data directory: a store connection of its own, as a command has. */
export class Site {
  readonly config: Config
  readonly upstream: FakeUpstream
  readonly work: Workspace
  readonly #scripts = new Map<string, Script[]>()
  readonly #elsewhere = new Map<string, Script>()
  #count = 0

  constructor(work: Workspace, upstream: FakeUpstream) {
    this.work = work
    this.config = work.config
    this.upstream = upstream
    const keyOf = ({ headers }: SeenCall) =>
      String(headers['x-api-key'] ?? headers['x-goog-api-key'] ?? headers.authorization?.replace(/^Bearer /, ''))
    upstream.always((call) => this.#scripts.get(keyOf(call))?.shift() ?? {})
    upstream.elsewhere((call) => this.#elsewhere.get(keyOf(call)) ?? {})
  }

  get store(): Store {
    return this.work.store
  }

  async scene(wanted: WantedScene = {}): Promise<Scene> {
    const { store, work } = this
    const name = `scene-${++this.#count}`
    const by = work.by
    const group = isStored(wanted.group)
      ? wanted.group
      : await store.groups.add({
          ...{ name, multiplierMicro: null, exclusive: false, whenClientLeaves: null, accountIds: [], by },
          ...wanted.group,
        })
    const accounts: StoredAccount[] = []
    for (const [index, account] of (wanted.accounts ?? [{}]).entries()) {
      accounts.push(await this.account({ name: `${name}-${index}`, priority: index, groupIds: [group.id], ...account }))
    }
    const user = isStored(wanted.user)
      ? wanted.user
      : await store.users.add({
          ...{ email: `${name}@example.com`, name: null, role: 'user', balanceNanoUsd: 0, concurrency: null, by },
          ...wanted.user,
        })
    const { apiKey, key } = await issueKey(work, {
      ...{ userId: user.id, groupId: group.id, name: null, expiresAtMs: null, concurrency: null, quotaNanoUsd: null },
      ...{ allowIps: [], denyIps: [], models: [], broughtKey: null },
      ...wanted.key,
    })
    return { user, group, accounts, apiKey, key: keepSecret(key) }
  }

  async account({ scripts, elsewhere, ...wanted }: WantedAccount): Promise<StoredAccount> {
    const apiKey = wanted.apiKey ?? secretKey()
    this.script(apiKey, ...(scripts ?? []))
    if (elsewhere) this.#elsewhere.set(apiKey, elsewhere)
    return addAccount(this.work, {
      ...{ provider: 'anthropic', name: `account-${++this.#count}`, apiKey, baseUrl: this.upstream.url, groupIds: [] },
      ...wanted,
    })
  }

  /** The next calls for a message that come with this credential are answered so. */
  script(credential: string, ...scripts: Script[]): void {
    this.#scripts.set(credential, [...(this.#scripts.get(credential) ?? []), ...scripts])
  }
}

function isStored<T extends { id: string }>(wanted: object | undefined): wanted is T {
  return wanted !== undefined && 'id' in wanted
}

/** A gateway of the test's own: the real daemon in this process on a free port, over a data directory of its own. */
export interface TestGateway {
  daemon: Daemon
  gateway: Gateway
  url: string
  upstream: FakeUpstream
  site: Site
  /** What the daemon logged. */
  log: LogLine[]
  /** Opens a call; its answer can be looked at on the way. */
  open(options: CallOptions): ClientCall
  /** Makes a call and waits for its end. */
  call(options: CallOptions): Promise<Answer>
  /** Resolves with all usage rows once nothing runs, waits, or is held any more. */
  settled(): Promise<StoredCall[]>
  /** Resolves once the running daemon has taken over every change that the operator has made. */
  seen(): Promise<void>
}

/** Linux's file system in memory: nothing here has to survive the machine, and setting up is many small commits. */
const MEMORY = '/dev/shm'

/** `config` holds values by key path. `setUp` runs before the daemon starts. */
export async function startGateway<T>(
  t: Test,
  options: { config?: Record<string, unknown>; setUp: (site: Site) => Promise<T> },
): Promise<TestGateway & { scenes: T }> {
  const parts = new AsyncDisposableStack()
  t.teardown(() => parts.disposeAsync())
  const dataDir = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'subgate-test-'))
  parts.defer(() => rmSync(dataDir, { recursive: true }))
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  const { config } = loadConfig({
    env: {},
    cwd: dataDir,
    terminal: false,
    flags: {
      data_dir: dataDir,
      run_mode: 'simple',
      'server.host': '127.0.0.1',
      'server.port': 0,
      'security.url_allowlist.enabled': false,
      'security.url_allowlist.allow_insecure_http': true,
      'security.url_allowlist.allow_private_hosts': true,
      ...options.config,
    },
  })
  const { log, lines } = keptLog()
  await prepareDataDir(config)
  const upstream = parts.use(await FakeUpstream.start())
  const store = parts.use(await openStore(config, 'command', { id: newId('prs'), clock: Date.now, log }))
  const work = { config, store, secrets: await openSecrets(config, store), by: 'test', clock: Date.now }
  const site = new Site(work, upstream)
  const scenes = await options.setUp(site)
  const daemon = parts.use(await startDaemon(config, log))
  parts.defer(() => agent.destroy())
  const { gateway, url } = daemon
  const watching = countWatchers(gateway)
  let changes = 0
  const open = (call: CallOptions) => new ClientCall(url, { agent, ...call })
  return {
    ...{ daemon, gateway, url, upstream, site, scenes, open },
    log: lines,
    call: (call) => open(call).over,
    async settled() {
      await until('the gateway to have nothing to do', async () => {
        const { live, running } = gateway
        const busy = [...(await live.admissions()), ...(await live.tickets())].length + running.size
        return busy === 0 && running.bufferedBytes === 0 && watching() === 0
      })
      return gateway.store.usage.list({ limit: 10_000 })
    },
    async seen() {
      // Changes are taken over in order: once a new one has arrived, all before it have.
      const heard = new Set<string>()
      const stop = gateway.directory.onChange((all) => {
        for (const { subject } of all ?? []) heard.add(subject)
      })
      const name = `seen-${++changes}`
      const nothing = { multiplierMicro: null, exclusive: false, whenClientLeaves: null, accountIds: [] }
      const { id } = await store.groups.add({ name, ...nothing, by: 'test' })
      await until('a change to arrive', () => heard.has(id)).finally(stop)
    },
  }
}

/** From here on, how many watch the gateway's ticker: every call does, and none may go on when it is over. */
function countWatchers({ ticker }: Gateway): () => number {
  let watching = 0
  const watch = ticker.watch.bind(ticker)
  ticker.watch = (watcher) => {
    watching++
    const unwatch = watch(watcher)
    let isWatched = true
    return () => {
      if (isWatched) watching--
      isWatched = false
      unwatch()
    }
  }
  return () => watching
}

/** A logger whose lines are kept, redacted as the daemon's own are. */
function keptLog(): { log: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const write = (line: string) => {
    const redacted = redact(line)
    collectOutput('gateway-log', redacted)
    lines.push(JSON.parse(redacted))
  }
  return { log: pino({ level: 'debug', base: null }, { write }), lines }
}

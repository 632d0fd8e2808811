import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONFIG_NAME, type Config, loadConfig } from '../../config/load.ts'
import { FakeUpstream } from '../../demo/fake-upstream.ts'
import { isGatewayError } from '../../domain/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { newId } from '../../lib/id.ts'
import { addAccount } from '../../operations/add-account.ts'
import { issueKey } from '../../operations/issue-key.ts'
import { DEFAULT_GROUP, makeFirstRows, prepareDataDir } from '../../operations/set-up.ts'
import { openSecrets } from '../../operations/workspace.ts'
import { openStore } from '../../store/open.ts'
import { clientLines, curlLines } from '../client-lines.ts'
import type { Context } from '../context.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { examples } from '../examples.ts'
import { createLogger } from '../logger.ts'
import { ownCommand } from '../own-command.ts'
import type { Fill } from '../program.ts'
import { listenFlag } from './init.ts'
import { stopSignal } from './serve.ts'

const USER = 'demo@localhost'
/** Between the events of an answer, so that one sees it stream, in ms. */
const EVENT_DELAY_MS = 40

export const fill: Fill = (demo, act) => {
  demo
    .option('--listen <host:port>', 'where to listen (default: 127.0.0.1:8080, or a free port)', listenFlag)
    .addHelpText(
      'after',
      `\nEverything lives in a temporary directory, which is removed at the end (Ctrl-C).\n${examples('subgate demo', 'subgate demo --listen 127.0.0.1:9090')}`,
    )
    .action(act(run))
}

async function run(context: Context, flags: { listen?: { host: string; port: number } }): Promise<void> {
  const { out } = context
  const dataDir = mkdtempSync(join(tmpdir(), 'subgate-demo-'))
  try {
    await using upstream = await FakeUpstream.start()
    upstream.always({ eventDelayMs: EVENT_DELAY_MS })
    const config = demoConfig(dataDir, flags.listen ?? { host: '127.0.0.1', port: 8080 })
    const key = await fillStore(config, upstream.url)
    await using daemon = await start(config, flags.listen === undefined)
    const { url } = daemon
    const self = ownCommand(process.argv[1], null)
    out.data({ url, key, dataDir, user: USER }, () =>
      [
        `${out.style('bold', 'A gateway with a built-in upstream runs at')} ${url}\n`,
        out.style('bold', 'Ask it:'),
        ...curlLines(url, key),
        `\n${out.style('bold', 'Or let Claude Code talk to it:')}`,
        ...clientLines('claude-code', url, key),
        'claude -p "hello"',
        `\n${out.style('bold', 'See what it counted, in another terminal:')}`,
        `${self} usage report --data-dir ${dataDir}`,
        `${self} usage tail -f --data-dir ${dataDir}`,
        `${self} status --data-dir ${dataDir}`,
      ].join('\n'),
    )
    out.say('\nCtrl-C ends it and leaves nothing behind.')
    await stopSignal()
    daemon.gateway.running.stopAll()
    await daemon.drain()
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/**
 * Nothing of the operator's own configuration or environment reaches the demo. Its own is a file in the data directory, for
 * commands that are pointed there: without it they would refuse the built-in upstream, which is local.
 */
function demoConfig(dataDir: string, { host, port }: { host: string; port: number }): Config {
  const file = join(dataDir, CONFIG_NAME)
  const lines = [
    'data_dir: .',
    'simple_mode_confirm: true',
    `server: { host: ${JSON.stringify(host)}, port: ${port} }`,
    'log: { level: warn }',
    'security: { url_allowlist: { enabled: false, allow_insecure_http: true, allow_private_hosts: true } }',
  ]
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  return loadConfig({ file, env: {}, cwd: dataDir, terminal: true }).config
}

/** An account at the built-in upstream for each vendor that gives API keys, a user, and a key, which is returned. */
async function fillStore(config: Config, upstreamUrl: string): Promise<string> {
  await prepareDataDir(config)
  const log = createLogger(config.log)
  const by = 'demo'
  await using store = await openStore(config, 'command', { id: newId('prs'), clock: systemClock, log })
  const work = { config, store, secrets: await openSecrets(config, store), by, clock: systemClock }
  await makeFirstRows(store, { adminEmail: USER, config, by })
  const group = await store.groups.find(DEFAULT_GROUP)
  const user = await store.users.find(USER)
  for (const { provider, baseUrl } of [
    { provider: 'anthropic', baseUrl: upstreamUrl },
    { provider: 'openai', baseUrl: `${upstreamUrl}/v1` },
    { provider: 'gemini', baseUrl: upstreamUrl },
  ] as const) {
    const account = { provider, name: `built-in ${provider}`, apiKey: `built-in-${provider}`, baseUrl }
    await addAccount(work, { ...account, groupIds: [group.id] })
  }
  return (await issueKey(work, { userId: user.id, groupId: group.id, name: 'demo' })).key
}

/** Takes a free port if the usual one is in use and nobody asked for it. */
async function start(config: Config, mayMove: boolean): Promise<Daemon> {
  const log = createLogger(config.log)
  try {
    return await startDaemon(config, log)
  } catch (error) {
    if (!mayMove || !isGatewayError(error, 'conflict')) throw error
    return startDaemon({ ...config, server: { ...config.server, port: 0 } }, log)
  }
}

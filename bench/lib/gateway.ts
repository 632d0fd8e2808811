import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDaemon } from '../../src/cli/daemon.ts'
import { createLogger } from '../../src/cli/logger.ts'
import { loadConfig } from '../../src/config/load.ts'
import { addAccount } from '../../src/operations/add-account.ts'
import { issueKey } from '../../src/operations/issue-key.ts'
import { prepareDataDir } from '../../src/operations/set-up.ts'
import { openSecrets } from '../../src/operations/workspace.ts'
import { openStore } from '../../src/store/open.ts'

// subgate in a process of its own, with an account at the given upstream and one key for each of 100 users.

const [, , upstream, runMode] = process.argv as [string, string, string, 'simple' | 'saas']
const { config } = loadConfig({
  env: {},
  cwd: tmpdir(),
  terminal: false,
  flags: {
    data_dir: mkdtempSync(join(tmpdir(), 'subgate-bench-')),
    run_mode: runMode,
    'server.host': '127.0.0.1',
    'server.port': 0,
    'log.level': 'error',
    'security.url_allowlist.enabled': false,
    'security.url_allowlist.allow_insecure_http': true,
    'security.url_allowlist.allow_private_hosts': true,
  },
})
await prepareDataDir(config)
const log = createLogger(config.log)
const keys: string[] = []
{
  await using store = await openStore(config, 'command', { id: 'bench', clock: Date.now, log })
  const work = { config, store, secrets: await openSecrets(config, store), by: 'bench', clock: Date.now }
  const group = await store.groups.add({
    name: 'default',
    multiplierMicro: null,
    exclusive: false,
    whenClientLeaves: null,
    accountIds: [],
    by: 'bench',
  })
  await addAccount(work, {
    provider: 'anthropic',
    name: 'bench',
    apiKey: 'sk-ant-bench',
    baseUrl: upstream,
    groupIds: [group.id],
  })
  for (let user = 0; user < 100; user++) {
    const email = `user${user}@bench.example`
    const { id } = await store.users.add({
      email,
      name: null,
      role: 'user',
      balanceNanoUsd: 1e15,
      concurrency: null,
      by: 'bench',
    })
    keys.push((await issueKey(work, { userId: id, groupId: group.id })).key)
  }
}
const daemon = await startDaemon(config, log)
process.send?.({ port: Number(new URL(daemon.url).port), keys, dataDir: config.dataDir })
process.on('message', async (message) => {
  if (message !== 'count') return
  const report = await daemon.gateway.store.usage.report({ filter: {}, by: 'provider' })
  const rows = await daemon.gateway.store.usage.verify()
  process.send?.({ rows: rows.calls, requests: report[0]?.requests ?? 0, problems: rows.problems })
})
process.on('SIGTERM', async () => {
  await daemon.drain()
  await daemon[Symbol.asyncDispose]()
  process.exit(0)
})

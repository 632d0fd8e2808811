import Database from 'better-sqlite3'
import t from 'tap'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { configKeys } from '../../src/config/schema.ts'
import { databaseFile } from '../../src/store/place.ts'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

/** The configuration of a running gateway with other values, as SIGHUP would find it. */
function changed({ dataDir }: Config, flags: Record<string, unknown>): Config {
  const { config } = loadConfig({ env: {}, cwd: dataDir, terminal: false, flags: { data_dir: dataDir, ...flags } })
  return config
}

t.test('a reload keeps what was opened with its old value, and says so', async (t) => {
  const { daemon, gateway, site } = await startGateway(t, { setUp: (site) => site.scene() })
  const before = gateway.config
  const next = changed(before, { run_mode: 'saas', 'gateway.charge_wait': '1s', 'gateway.wait': '7s' })
  const fixed = daemon.reload(next)
  t.same(fixed.toSorted(), ['gateway.charge_wait', 'run_mode', 'server.host', 'server.port'])
  t.match(gateway.config, { runMode: 'simple', gateway: { chargeWaitMs: before.gateway.chargeWaitMs, waitMs: 7000 } })
  t.match(gateway.config, { unknownPrice: 'record', guard: { enabled: false } }, 'nor does what follows from it change')
  daemon.reload(changed(site.config, { unknown_price: 'refuse' }))
  t.equal(gateway.config.unknownPrice, 'refuse', 'but the operator’s own word does')
  const reloads = new Set(configKeys().flatMap((key) => (key.reloads ? [key.path] : [])))
  t.same(
    fixed.filter((key) => reloads.has(key)),
    [],
    'and no key promises otherwise',
  )
})

t.test('when it is unknown what has changed, balances are learnt anew', async (t) => {
  const gw = await startGateway(t, { config: { run_mode: 'saas' }, setUp: (site) => site.scene() })
  const { key, user } = gw.scenes
  const call = async () => (await gw.call({ key, body: messageRequest(false) })).status
  t.equal(await call(), 402)
  const database = new Database(databaseFile(gw.site.config))
  t.teardown(() => database.close())
  database.prepare('update users set balance_nano_usd = 1000000000 where id = ?').run(user.id)
  database.prepare('update revision set revision = revision + 20000').run() // and not what: it is too far behind
  await until('the credit to be seen', async () => (await call()) === 200)
  t.pass()
})

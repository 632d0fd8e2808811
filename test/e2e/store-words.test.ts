import t from 'tap'
import { GatewayError } from '../../src/domain/errors.ts'
import { messageRequest } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'

const LOCKED = 'the database is locked by another program (SQLITE_BUSY)'

t.test('what the store says of its troubles goes to the log, and clients hear one sentence', async (t) => {
  const gw = await startGateway(t, {
    config: { run_mode: 'saas' },
    setUp: async (site) => ({
      stranger: await site.scene(),
      known: await site.scene({ user: { balanceNanoUsd: 1_000_000_000 }, key: { quotaNanoUsd: 5 } }),
    }),
  })
  const { stranger, known } = gw.scenes
  const { keys, ledger, usage } = gw.gateway.store
  t.equal((await gw.call({ method: 'GET', path: '/v1/usage', key: known.key })).status, 200, 'now its key is known')
  const fails = async () => {
    throw new GatewayError('unavailable', LOCKED, { hint: 'Stop the other program.' })
  }
  keys.callerOf = fails
  ledger.standing = fails
  usage.report = fails
  const asks = {
    'whose key it is': { key: stranger.key, body: messageRequest(false) },
    'what the caller may spend': { key: known.key, body: messageRequest(true) },
    'whether the quota is spent': { key: known.key, path: '/v1/messages/count_tokens', body: messageRequest(false) },
    'what it has used': { key: known.key, path: '/v1/usage', method: 'GET' },
  }
  for (const [what, options] of Object.entries(asks)) {
    const { status, headers, text } = await gw.call(options)
    t.match({ status, headers }, { status: 503, headers: { 'retry-after': /^\d+$/ } }, what)
    t.match(JSON.parse(text).error, { type: 'api_error', message: /^the gateway cannot keep its books at the moment/ })
    t.notMatch(text, 'SQLITE')
  }
  t.match(
    gw.log.filter(({ msg }) => msg === 'a call could not be served'),
    Array(4).fill({ callId: /^call_/, reason: LOCKED, remedy: 'Stop the other program.' }),
  )
  t.match(gw.gateway.counters.all(), { 'refused.unavailable': 4 })
})

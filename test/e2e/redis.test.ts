import t from 'tap'
import { messageRequest, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { RedisServer } from '../support/redis.ts'

/** The gateway with its live state in Redis: what clients and operators see of it. */

t.test('calls run, wait and are charged as ever; while Redis is away they are refused in a sentence', async (t) => {
  const redis = await RedisServer.start()
  t.teardown(() => redis[Symbol.asyncDispose]())
  const gw = await startGateway(t, {
    config: { 'redis.url': redis.url, run_mode: 'saas' },
    setUp: (site) =>
      site.scene({
        user: { concurrency: 1, balanceNanoUsd: 1_000_000_000 },
        accounts: [{ scripts: Array.from({ length: 5 }, () => ({ headDelayMs: 20 })) }],
      }),
  })
  const { key, user } = gw.scenes
  const call = () => gw.call({ key, body: messageRequest(false) })
  t.match(await redis.command('KEYS', '*'), /^\{subgate\}:/m)
  const answers = await Promise.all([call(), call(), call()])
  t.same(
    answers.map(({ status }) => status),
    [200, 200, 200],
  )
  const rows = await gw.settled()
  const chargedNanoUsd = rows.reduce((sum, { chargedNanoUsd }) => sum + chargedNanoUsd, 0)
  t.ok(chargedNanoUsd > 0)
  const held = (await redis.command('KEYS', '*balance')) as string[]
  t.equal(
    Number(await redis.command('HGET', held[0] as string, user.id)),
    1_000_000_000 - chargedNanoUsd,
    'what is left is known to all processes',
  )

  await redis.kill()
  const refused = await until('it to be noticed', async () => {
    const answer = await call()
    return answer.status === 503 ? answer : undefined
  })
  const ready = async () => (await fetch(`${gw.url}/ready`)).json()
  t.match(await ready(), { status: 'not ready', reason: /^live state does not answer: Redis/ })
  t.match(refused.text, /cannot keep its books at the moment; try again shortly/)
  t.match(
    gw.log.filter(({ msg }) => msg === 'a call could not be served'),
    [{ reason: /^Redis does not answer: /, remedy: /redis\.url/ }],
  )
  await redis.start()
  await until('it to go on', async () => ((await call()).status === 200 ? true : undefined))
  t.match(await ready(), { status: 'ready' })
})

t.test('without its Redis a gateway does not start, and says what to do', async (t) => {
  const start = startGateway(t, { config: { 'redis.url': 'redis://127.0.0.1:1' }, setUp: async () => {} })
  await t.rejects(start, { code: 'unavailable', message: /Redis does not answer/ })
})

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import t from 'tap'
import { systemClock, systemTimer } from '../../src/lib/clock.ts'
import { RedisLiveState } from '../../src/live/redis.ts'
import { RedisConnection } from '../../src/live/redis-connection.ts'
import { freePort, RedisServer } from '../support/redis.ts'

// Ways to a Redis beside the plain one.

t.test('rediss:// is a connection by TLS, to a server whose certificate is trusted', async (t) => {
  const folder = t.testdir()
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-keyout', key, '-out', cert, ...subject]
  execFileSync('openssl', made, { stdio: 'ignore' })
  await using server = await RedisServer.start()
  const port = String(await freePort())
  await server.command('CONFIG', 'SET', 'tls-cert-file', cert, 'tls-key-file', key, 'tls-ca-cert-file', cert)
  await server.command('CONFIG', 'SET', 'tls-auth-clients', 'no')
  await server.command('CONFIG', 'SET', 'tls-port', port)
  const url = `rediss://127.0.0.1:${port}/0`
  await t.rejects(RedisConnection.open({ url }), { code: 'unavailable', message: /self-signed certificate/ })
  setDefaultCACertificates([...getCACertificates(), readFileSync(cert, 'utf8')])
  for (const host of ['127.0.0.1', 'localhost']) {
    await using connection = await RedisConnection.open({ url: `rediss://${host}:${port}/0` })
    const options = { processId: host, clock: systemClock, setTimer: systemTimer }
    await using live = await RedisLiveState.join(connection, options)
    t.same(await live.admissions(), [])
  }
})

t.test('by sentinels the master is found, and the replica that takes its place', async (t) => {
  await using master = await RedisServer.start()
  await using replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port))
  await using sentinel = await RedisServer.startSentinel('main', master)
  const until = async (what: string, isSo: () => Promise<boolean>) => {
    for (const untilMs = Date.now() + 30_000; !(await isSo().catch(() => false)); await sleep(50)) {
      if (Date.now() > untilMs) throw new Error(`not within 30 s: ${what}`)
    }
  }
  await until('the replica follows', async () => /master_link_status:up/.test(String(await replica.command('INFO'))))
  await until('it is known', async () => /slaves=1/.test(String(await sentinel.command('INFO', 'sentinel'))))
  const url = `redis+sentinel://127.0.0.1:${sentinel.port}/main/0`
  await using live = await RedisLiveState.join(await RedisConnection.open({ url }), {
    ...{ processId: 'here', clock: systemClock, setTimer: systemTimer },
    ownsConnection: true,
  })
  live.startBeating()
  const callId = 'call'
  const answer = await live.admit({
    ...{ callId, userId: 'u', keyId: 'k', groupId: 'g', userConcurrency: 1, keyConcurrency: null },
    candidates: [{ accountId: 'A', model: 'm', concurrency: null, limits: [] }],
    ...{ session: null, lineExtra: 0, deadlineMs: Date.now() + 1000, needsBalance: false, quotaNanoUsd: null },
    ...{ reservedNanoUsd: 0, limits: [] },
    estimate: {
      ...{ requests: 1, inputTokens: 0, cacheReadTokens: 0, outputTokens: 0, costNanoUsd: 0, spentNanoUsd: 0 },
    },
  })
  t.match(answer, { kind: 'admission' })
  await master.kill()
  await until('the replica is told what runs', async () => (await live.admissions())[0]?.callId === callId)
  t.match(await replica.command('ROLE'), ['master'])
})

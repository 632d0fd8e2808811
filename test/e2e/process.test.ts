import { readFileSync, writeFileSync } from 'node:fs'
import Database from 'better-sqlite3'
import t from 'tap'
import { FakeUpstream } from '../../src/demo/fake-upstream.ts'
import { ClientCall, messageRequest, until } from '../support/client.ts'
import { openServedStore } from '../support/kill.ts'
import { Load } from '../support/load.ts'
import { Operator, ServeProcess, serve } from '../support/served.ts'

/** What only a process can show: signals, locks, and what it finds when it starts again. */

const UNLIMITED = ['--concurrency', 'none']

t.test('SIGTERM under load loses nothing and cuts no stream', async (t) => {
  await using upstream = await FakeUpstream.start()
  upstream.always({ eventDelayMs: 60, usage: { input: 100, output: 20 } }) // a stream takes over half a second
  const served = await serve(t, { upstreamUrl: upstream.url, user: UNLIMITED })
  const load = new Load({ url: served.url, key: served.key, clients: 24 })
  await until('calls to end', () => load.complete.length > 40)
  await until('streams to run', () => upstream.running >= 10)
  const running = upstream.running
  t.equal(await served.process.stop(), 0, 'it ends well')
  await load.stop()
  t.same(load.broken, [], `none of the ${running} running calls was cut`)
  t.same(
    [...load.others.keys()].filter((status) => status !== 503),
    [],
    'what came later was refused with 503',
  )
  await using store = await openServedStore(served.operator.home)
  const proof = await store.usage.verify()
  t.same(proof.problems, [])
  t.equal(proof.calls, load.complete.length, 'a row for each answer, and no other')
  t.match(served.process.said, /Stopping.*Stopped/s)
})

t.test('a second SIGTERM ends running calls at once, each with its error event', async (t) => {
  await using upstream = await FakeUpstream.start()
  upstream.always({ breaks: { after: 4, how: 'silence' } })
  const served = await serve(t, { upstreamUrl: upstream.url })
  const call = new ClientCall(served.url, { key: served.key, body: messageRequest(true) })
  await call.has('content_block_delta')
  process.kill(served.process.pid, 'SIGTERM')
  await until('the first signal to be heard', () => served.process.said.includes('Stopping'))
  process.kill(served.process.pid, 'SIGTERM')
  const { text } = await call.over
  t.match(text, /event: error\ndata: .*shutting down/)
  await served.process.exited
  await using store = await openServedStore(served.operator.home)
  t.match(await store.usage.tail({ last: 5 }), [{ outcome: 'stopped', usage: { inputTokens: Number } }])
  t.match(await store.usage.verify(), { problems: [], calls: 1 })
})

t.test('a call that a kill cuts in its second second is listed as interrupted at the next start', async (t) => {
  await using upstream = await FakeUpstream.start()
  upstream.always({ breaks: { after: 4, how: 'silence' } })
  const served = await serve(t, { upstreamUrl: upstream.url })
  const call = new ClientCall(served.url, { key: served.key, body: messageRequest(true) })
  await call.has('content_block_delta')
  const database = new Database(`${served.operator.home}/.local/share/subgate/subgate.db`, { readonly: true })
  await until('the call to be journaled', () => database.prepare('select id from running_calls').get())
  database.close()
  process.kill(served.process.pid, 'SIGKILL')
  t.match(await call.over, { ended: 'cut' })
  const callId = String(call.headers['x-subgate-call-id'])
  const again = await ServeProcess.start(t, served.operator)
  t.match(again.said, new RegExp(`interrupted.*${callId}|${callId}.*interrupted`))
  await using store = await openServedStore(served.operator.home)
  t.match(await store.usage.show(callId), { outcome: 'interrupted', error: 'killed' })
  t.match(await store.usage.verify(), { problems: [], calls: 1 })
})

t.test('one serve for a data directory, and the next one as soon as it is gone', async (t) => {
  await using upstream = await FakeUpstream.start()
  const served = await serve(t, { upstreamUrl: upstream.url })
  t.match(await served.operator.run('serve', '--listen', '127.0.0.1:0'), {
    code: 1,
    stderr: /another subgate is already serving from this data directory/,
  })
  process.kill(served.process.pid, 'SIGKILL')
  await served.process.exited
  const next = await ServeProcess.start(t, served.operator)
  t.match(await served.operator.ask('status'), { pid: next.pid, listening: next.url })
})

t.test('SIGHUP reads the configuration again, and a broken one changes nothing', async (t) => {
  await using upstream = await FakeUpstream.start()
  const served = await serve(t, { upstreamUrl: upstream.url })
  const file = `${served.operator.home}/.config/subgate/config.yaml`
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, `${before}gateway:\n  line_extra: many\n`)
  process.kill(served.process.pid, 'SIGHUP')
  await until('it to complain', () => /old one stays in force/.test(served.process.said))
  writeFileSync(file, `${before}gateway:\n  count_tokens_per_minute: 1\n`)
  process.kill(served.process.pid, 'SIGHUP')
  await until('it to read', () => /configuration read again/.test(served.process.said))
  const count = () =>
    new ClientCall(served.url, { key: served.key, path: '/v1/messages/count_tokens', body: messageRequest(false) }).over
  t.match([await count(), await count()], [{ status: 200 }, { status: 429 }], 'the new limit holds')
})

t.test('serve where nothing is configured sets up and says what to do next', async (t) => {
  const operator = new Operator(t)
  const gateway = await ServeProcess.start(t, operator)
  t.match(gateway.said, /Nothing was configured.*made +configuration.*made +database/s)
  await until('it to say what is missing', () => /no accounts yet.*no keys yet/s.test(gateway.said))
  t.equal((await operator.run('key', 'issue', 'admin@localhost')).code, 0)
  t.equal(await gateway.stop(), 0)
})

t.test('what forbids a start is said with its remedy', async (t) => {
  const operator = new Operator(t)
  t.match(await operator.run('serve', '--listen', '0.0.0.0:0'), {
    code: 1,
    stderr: /unbilled access.*SIMPLE_MODE_CONFIRM=true/s,
  })
  await using upstream = await FakeUpstream.start()
  const { port } = new URL(upstream.url)
  t.match(await operator.run('serve', '--listen', `127.0.0.1:${port}`), {
    code: 1,
    stderr: /in use by another program.*another port/s,
  })
})

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { until } from '../../support/client.ts'
import { keepSecret } from '../../support/secrets.ts'
import { Operator } from '../../support/served.ts'

interface Demo {
  dataDir: string
  key: string
}

/** Starts a demo and reads what it prints; `stop` is Ctrl-C, and gives the exit code. */
async function startDemo(t: Test, operator: Operator): Promise<Demo & { stop(): Promise<number | null> }> {
  const child = operator.start('demo', '--listen', '127.0.0.1:0', '--json')
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'close') as Promise<[number | null]>
  const complaints = text(child.stderr)
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk
  })
  await until('the demo to run', () => printed.endsWith('}\n') || child.exitCode !== null)
  if (child.exitCode !== null) throw new Error(await complaints)
  const demo = JSON.parse(printed) as Demo
  keepSecret(demo.key)
  return {
    ...demo,
    async stop() {
      child.kill('SIGINT')
      return (await ended)[0]
    },
  }
}

t.test('commands that are pointed at its data directory work with it, and nothing is left behind', async (t) => {
  const operator = new Operator(t)
  const { dataDir, stop } = await startDemo(t, operator)
  const findings = await operator.ask<{ check: string; result: string }[]>('doctor', '--data-dir', dataDir)
  t.same(
    findings.filter(({ result }) => result !== 'ok'),
    [],
  )
  t.match(await operator.ask('account', 'test', '--data-dir', dataDir), [{ name: 'built-in', result: 'works' }])
  t.match(await operator.ask('status', '--data-dir', dataDir), { accounts: [{ name: 'built-in', usable: true }] })
  t.equal(await stop(), 0)
  t.notOk(existsSync(dataDir))
})

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { addonPath, placeAddon } from '../../src/lib/native-addon.ts'

const BYTES = Buffer.alloc(2_000_000, 'an addon')

/** Runs a shell script, in which "$@" is a command, where it may mount what it likes: all is gone when it ends. */
function inOwnMounts(script: string, command: string[], cwd: string) {
  return spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', ...command], { cwd, encoding: 'utf8' })
}

function cannotMount(): string | false {
  const { status, stderr, error } = inOwnMounts('mount -t tmpfs tmpfs /mnt', [], '/')
  return status === 0 ? false : `it takes the right to mount a file system: ${error?.message ?? stderr}`
}

t.test('run from source, packages find their own addons', async (t) => {
  t.equal(addonPath('better_sqlite3.node'), undefined)
})

t.test('an addon is written once, for its owner only, under a name made of its contents', async (t) => {
  const folder = join(t.testdir(), 'cache')
  const path = placeAddon('a.node', BYTES, [folder])
  t.match(path.slice(folder.length), /^\/[0-9a-f]{16}-a\.node$/)
  t.ok(readFileSync(path).equals(BYTES))
  t.equal(statSync(path).mode & 0o777, 0o500)
  const { ino } = statSync(path)
  t.equal(placeAddon('a.node', BYTES, [folder]), path)
  t.equal(statSync(path).ino, ino, 'it is not written again')
  t.not(placeAddon('a.node', Buffer.from('another version'), [folder]), path)
})

t.test('what was tampered with, or cut short, is written anew', async (t) => {
  const folder = t.testdir()
  const path = placeAddon('a.node', BYTES, [folder])
  for (const broken of [BYTES.subarray(1), Buffer.concat([Buffer.from('X'), BYTES.subarray(1)])]) {
    chmodSync(path, 0o700)
    writeFileSync(path, broken)
    t.equal(placeAddon('a.node', BYTES, [folder]), path)
    t.ok(readFileSync(path).equals(BYTES))
  }
  t.equal(readdirSync(folder).length, 1, 'nothing is left beside it')
})

t.test('where one folder cannot be had, the next one is taken', async (t) => {
  const dir = t.testdir({ file: '' })
  const path = placeAddon('a.node', BYTES, [join(dir, 'file', 'cache'), join(dir, 'second')])
  t.ok(path.startsWith(join(dir, 'second')))
  const given = t.throws(() => placeAddon('a.node', BYTES, [join(dir, 'file', 'cache')]))
  t.ok(isGatewayError(given, 'unavailable'))
  t.match(given, { message: /a\.node.*ENOTDIR/, facts: { hint: /XDG_CACHE_HOME/ } })
})

t.test('a folder from which nothing can be run is passed over', { skip: cannotMount() }, async (t) => {
  const dir = t.testdir({ noexec: {} })
  const source = `
    import { placeAddon } from ${JSON.stringify(import.meta.resolve('../../src/lib/native-addon.ts'))}
    console.log(placeAddon('a.node', Buffer.from('an addon'), ['noexec', 'second']))`
  const node = [process.execPath, '--input-type=module', '-e', source]
  const { stdout, stderr } = inOwnMounts('mount -t tmpfs -o noexec tmpfs noexec && exec "$@"', node, dir)
  t.equal(stderr, '')
  t.match(stdout, /^second\//)
})

t.test('first starts at once see the whole file', async (t) => {
  const folder = t.testdir()
  const [starts, rounds] = [3, 20]
  const source = `
    import { readFileSync } from 'node:fs'
    import { parentPort, workerData } from 'node:worker_threads'
    import { placeAddon } from ${JSON.stringify(import.meta.resolve('../../src/lib/native-addon.ts'))}
    const bytes = Buffer.from(workerData.bytes)
    const arrived = new Int32Array(workerData.arrived)
    let whole = 0
    for (let round = 1; round <= ${rounds}; round++) {
      Atomics.add(arrived, 0, 1)
      Atomics.notify(arrived, 0)
      for (let now = 0; (now = Atomics.load(arrived, 0)) < round * ${starts}; ) Atomics.wait(arrived, 0, now)
      const path = placeAddon(\`\${round}.node\`, bytes, [workerData.folder])
      if (readFileSync(path).equals(bytes)) whole++
    }
    parentPort.postMessage(whole)`
  const workerData = { folder, bytes: BYTES, arrived: new SharedArrayBuffer(4) }
  const workers = Array.from(
    { length: starts },
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData }),
  )
  t.teardown(() => Promise.all(workers.map((worker) => worker.terminate())))
  const whole = await Promise.all(workers.map((worker) => once(worker, 'message')))
  t.same(whole, Array(starts).fill([rounds]))
  t.equal(readdirSync(folder).length, rounds, 'nothing is left beside them')
})

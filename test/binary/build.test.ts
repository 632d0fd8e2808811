import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildBinary } from '../../scripts/build-binary.ts'

// How the binary is built, shown on a small program.

const dir = t.testdir()
const binary = join(dir, 'binary')
await buildBinary('test/binary/fixtures/bug.ts', binary)

t.test('stacks name the source, on the main thread and in a worker', async (t) => {
  const { stdout, stderr } = spawnSync(binary, { encoding: 'utf8' })
  t.equal(stderr, '')
  t.match(stdout, /RangeError: another bug\n {4}at workersBug \(test\/binary\/fixtures\/bug-worker\.ts:4\)\n {4}at /)
  t.match(stdout, /TypeError: a bug\n {4}at mainBug \(test\/binary\/fixtures\/bug\.ts:7\)\n {4}at /)
})

t.test('the same sources give the same bytes', async (t) => {
  await buildBinary('test/binary/fixtures/bug.ts', join(dir, 'again'))
  t.ok(readFileSync(binary).equals(readFileSync(join(dir, 'again'))))
})

/** What Debian, Ubuntu and Fedora have in their smallest images. */
const PLAIN_LIBRARIES = /^(linux-vdso|ld-linux-x86-64|libc|libdl|libgcc_s|libm|libpthread|libstdc\+\+)\.so/

const isX64Linux = process.platform === 'linux' && process.arch === 'x64'
const skip = isX64Linux ? false : 'what a plain system has is known here for Linux on x86-64 only'

t.test('it needs no library that a plain system lacks', { skip }, async (t) => {
  const { stdout } = spawnSync(binary, { encoding: 'utf8', env: { LD_TRACE_LOADED_OBJECTS: '1' } })
  const libraries = stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(' ')[0]?.split('/').pop() ?? '')
  t.ok(libraries.length > 3, 'libraries were found')
  t.same(
    libraries.filter((name) => !PLAIN_LIBRARIES.test(name)),
    [],
  )
})

import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeFolder } from '../../src/lib/make-folder.ts'

t.test('what is missing is made, for its owner alone, and what is there is left as it is', async (t) => {
  const home = t.testdir()
  mkdirSync(join(home, 'there'), { mode: 0o755 })
  makeFolder(join(home, 'there', 'a', 'b'))
  for (const made of ['there/a', 'there/a/b']) t.equal(statSync(join(home, made)).mode & 0o777, 0o700, made)
  makeFolder(join(home, 'there'))
  t.equal(statSync(join(home, 'there')).mode & 0o777, 0o755)
  makeFolder('/')
  makeFolder('.')
})

t.test('what is no folder is named, in its place or above it', async (t) => {
  const home = t.testdir({ file: 'x', link: t.fixture('symlink', 'gone') })
  t.throws(() => makeFolder(join(home, 'file')), { code: 'EEXIST', path: join(home, 'file') })
  t.throws(() => makeFolder(join(home, 'file', 'a')), { code: 'ENOTDIR', path: join(home, 'file', 'a') })
  for (const path of [join(home, 'link'), join(home, 'link', 'a')]) {
    t.throws(() => makeFolder(path), { code: 'EEXIST', path: join(home, 'link') })
  }
  t.same(readdirSync(home).sort(), ['file', 'link'])
})

t.test(
  'where the kernel makes no folders it is an error, not a loop',
  { skip: process.platform !== 'linux' && 'needs /proc' },
  async (t) => {
    t.throws(() => makeFolder('/proc/x/y'), { code: 'forbidden', message: 'no folder can be made in /proc' })
  },
)

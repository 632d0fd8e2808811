import { chmodSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { privateFolder } from '../../src/lib/private-folder.ts'

const modeOf = (path: string) => statSync(path).mode & 0o777

t.test('the folder is ours alone, whether it was there or not', async (t) => {
  const path = join(t.testdir(), 'a', 'b')
  t.equal(privateFolder(path), path)
  t.equal(modeOf(path), 0o700)
  chmodSync(path, 0o777)
  privateFolder(path)
  t.equal(modeOf(path), 0o700)
})

t.test('what is somebody else’s, or no folder, is not taken', async (t) => {
  const dir = t.testdir({ file: 'x', link: t.fixture('symlink', '/') })
  t.throws(() => privateFolder(join(dir, 'file')))
  const isRoot = process.getuid?.() === 0
  if (!isRoot) t.throws(() => privateFolder('/'), { message: '/ belongs to somebody else' })
  const getuid = process.getuid
  process.getuid = () => 4711
  t.teardown(() => {
    if (getuid) process.getuid = getuid
  })
  t.throws(() => privateFolder(join(dir, 'new')), { message: /belongs to somebody else/ })
})

import { join } from 'node:path'
import t from 'tap'
import { lockDataDir } from '../../src/store/sqlite.ts'
import { temporaryFolder } from '../support/store.ts'
import { StoreProcess } from '../support/store-process.ts'

const TAKEN = {
  code: 'conflict',
  message: 'another subgate is already serving from this data directory',
  facts: { hint: 'subgate status asks it; for a second gateway use another --data-dir.' },
}

t.test('one process at a time holds the lock of a data directory, and it dies with it', async (t) => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'lock.db')
  {
    await using holder = await StoreProcess.start('hold-data-dir', file)
    t.throws(() => lockDataDir(file), TAKEN)
    await holder.end()
    using _free = lockDataDir(file)
  }
  await using killed = await StoreProcess.start('hold-data-dir', file)
  t.throws(() => lockDataDir(file), TAKEN)
  await killed.kill()
  using mine = lockDataDir(file)
  t.throws(() => lockDataDir(file), TAKEN, 'also within one process')
  await t.rejects(StoreProcess.start('hold-data-dir', file), { message: new RegExp(TAKEN.message) })
  mine[Symbol.dispose]()
  lockDataDir(file)[Symbol.dispose]()
})

t.test('two data directories have two locks', async () => {
  using folder = temporaryFolder()
  using _one = lockDataDir(join(folder.path, 'one.db'))
  using _two = lockDataDir(join(folder.path, 'two.db'))
})

t.test('a lock that cannot be taken for another reason is not told as somebody else’s', async (t) => {
  using folder = temporaryFolder()
  t.throws(() => lockDataDir(join(folder.path, 'no', 'lock.db')), {
    code: 'unavailable',
    message: /cannot be made: ENOENT/,
  })
})

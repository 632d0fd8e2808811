import { once } from 'node:events'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import t from 'tap'
import { connectForMigration } from '../../src/store/sqlite.ts'
import { WriterThread } from '../../src/store/writer.ts'
import { callOf, makeSqlite, START_MS, temporaryFolder, until, userCalled } from '../support/store.ts'

/** Threads in the order of their start. */
const started: Worker[] = []
process.on('worker', (worker) => started.push(worker))

const NOBODY = { userId: 'usr_nobody', keyId: 'key_1', groupId: 'grp_1', accountId: 'acc_1' }

const user = (email: string) => userCalled(email)

t.test('writes are done one after the other, and answered each by its own', async (t) => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'subgate.db')
  await makeSqlite(file)
  await using writer = new WriterThread(file, undefined)
  const answers = await Promise.allSettled([
    writer.write('users.add', user('a@example.com'), START_MS),
    writer.write('users.add', user('A@example.com'), START_MS),
    writer.write('secrets.putIfAbsent', { name: 'x', sealed: 'y' }, START_MS),
    writer.write('usage.record', [{ call: callOf(NOBODY), journaled: false }], START_MS),
    writer.write('users.add', user('b@example.com'), START_MS + 1),
  ])
  t.match(answers[0], { value: { email: 'a@example.com', createdAtMs: START_MS } })
  t.match(answers[1], { reason: { name: 'GatewayError', code: 'conflict', message: /already a user a@/ } })
  t.match(answers[2], { value: 'y' })
  t.match(answers[3], { reason: { name: 'Error', message: /^a write failed: Error: a call is charged to a user/ } })
  t.match(answers[4], { value: { email: 'b@example.com', createdAtMs: START_MS + 1 } })
})

t.test('a thread that dies rejects what waits for it, and the next write starts another', async (t) => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'subgate.db')
  await makeSqlite(file)
  await using writer = new WriterThread(file, undefined)
  await writer.write('users.add', user('a@example.com'), START_MS)
  const thread = started.at(-1)
  // Writes that wait for a lock when their thread is killed.
  const database = connectForMigration(file)
  const locked = Promise.withResolvers<void>()
  const unlock = Promise.withResolvers<void>()
  const holder = database.transaction().execute(async () => {
    locked.resolve()
    await unlock.promise
  })
  await locked.promise
  const waiting = Promise.allSettled([
    writer.write('users.add', user('b@example.com'), START_MS),
    writer.write('users.add', user('c@example.com'), START_MS),
  ])
  await thread?.terminate()
  const stopped = { reason: { code: 'unavailable', message: /the writer thread stopped/ } }
  t.match(await waiting, [stopped, stopped])
  unlock.resolve()
  await holder
  const again = await writer.write('users.add', user('c@example.com'), START_MS)
  t.equal(again.email, 'c@example.com')
  t.not(started.at(-1), thread)
  const emails = (await database.selectFrom('users').select('email').orderBy('email').execute()).map((u) => u.email)
  t.same(emails, ['a@example.com', 'c@example.com'])
  await database.destroy()
})

t.test('closing does what was asked for, and then nothing more', async (t) => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'subgate.db')
  await makeSqlite(file)
  const writer = new WriterThread(file, undefined)
  await writer.write('users.add', user('first@example.com'), START_MS)
  const added = Array.from({ length: 20 }, (_, n) => writer.write('users.add', user(`u${n}@example.com`), START_MS))
  const threads = started.length
  const exited = once(started.at(-1) as Worker, 'exit')
  await writer[Symbol.asyncDispose]()
  t.equal((await Promise.all(added)).length, 20)
  t.same(await exited, [0])
  await t.rejects(writer.write('users.add', user('late@example.com'), START_MS), {
    code: 'unavailable',
    message: 'the store is closed',
  })
  await writer[Symbol.asyncDispose]()
  t.equal(started.length, threads)
})

t.test('one that never wrote closes at once', async () => {
  await using writer = new WriterThread('/nowhere', undefined)
  await writer[Symbol.asyncDispose]()
})

t.test('a database that is not there is not made', async (t) => {
  using folder = temporaryFolder()
  const file = join(folder.path, 'subgate.db')
  await using writer = new WriterThread(file, undefined)
  await t.rejects(writer.write('users.add', user('a@example.com'), START_MS), {
    code: 'unavailable',
    message: 'the database file cannot be opened (SQLITE_CANTOPEN)',
  })
  await makeSqlite(file) // it is put back: no restart is needed
  await until(async () => (await writer.write('users.add', user('a@example.com'), START_MS)).id.startsWith('usr_'))
})

import { open, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { RecordEntry } from '../../src/store/queries/record.ts'
import { SpillFile } from '../../src/store/spill.ts'
import { callOf, temporaryFolder } from '../support/store.ts'

const SCENE = { userId: 'usr_1', keyId: 'key_1', groupId: 'grp_1', accountId: 'acc_1' }
const SPILL_BYTES = 8 * 1024 * 1024
/** Opening reads the whole file; tests that open it a thousand times take a smaller one. */
const SMALL = 128 * 1024

function entry(changes: Parameters<typeof callOf>[1] = {}, journaled = false): RecordEntry {
  return { call: callOf(SCENE, changes), journaled }
}

function spillTest(name: string, body: (t: typeof import('tap').t, path: string) => Promise<void>) {
  return t.test(name, async (t) => {
    using folder = temporaryFolder()
    await body(t as never, join(folder.path, 'spill.log'))
  })
}

/** What a new process finds in the file. */
async function found(path: string, size?: number): Promise<readonly RecordEntry[]> {
  await using spill = await SpillFile.open(path, size)
  return [...spill.entries]
}

spillTest('what was appended is there after a restart, in order, until it is cleared', async (t, path) => {
  const [a, b, c, d] = [entry(), entry({ userAgent: 'ünï 😀', costNanoUsd: 2 ** 53 - 1 }, true), entry(), entry()]
  {
    await using spill = await SpillFile.open(path)
    t.same(spill.entries, [])
    await spill.append([a])
    await Promise.all([spill.append([b, c]), spill.append([d])])
    t.same(spill.entries, [a, b, c, d])
  }
  const { size, mode } = await stat(path)
  t.equal(size, SPILL_BYTES, 'its room is taken beforehand')
  t.equal(mode & 0o777, 0o600)
  {
    await using spill = await SpillFile.open(path)
    t.same(spill.entries, [a, b, c, d])
    t.equal(await spill.clear(3), false, 'something was appended since')
    t.same(spill.entries.length, 4)
    t.equal(await spill.clear(4), true)
    t.same(spill.entries, [])
  }
  t.same(await found(path), [])
})

spillTest('after it was cleared, what was there before never comes back', async (t, path) => {
  const before = [entry(), entry(), entry(), entry()]
  const after = { ...entry(), call: { ...entry().call, userAgent: before[0]?.call.userAgent ?? '' } }
  {
    await using spill = await SpillFile.open(path)
    await spill.append(before)
    await spill.clear(4)
    await spill.append([after]) // as long as the first one was: the second lies right behind it
  }
  t.same(await found(path), [after])
})

spillTest('an append that failed half-way leaves nothing behind the next', async (t, path) => {
  const [a, b, c] = [entry(), entry(), entry()]
  await using spill = await SpillFile.open(path)
  const file = (await open(path, 'r+')) as Awaited<ReturnType<typeof open>>
  await spill.append([a, b])
  const bytes = await readFile(path)
  await spill.clear(2)
  // As if an append of both in this epoch had been written, but not been synced.
  const epoch = (await readFile(path)).readUInt32LE(8)
  for (let at = 16; bytes.readUInt32LE(at) > 0; at += 12 + bytes.readUInt32LE(at)) bytes.writeUInt32LE(epoch, at + 4)
  await file.write(bytes, 16, 8192, 16)
  await file.close()
  t.equal((await found(path)).length, 2)
  await spill.append([c])
  t.same(await found(path), [c])
})

t.test(
  'of a file whose last entry is torn or damaged anywhere, all entries before it are read and nothing else',
  async (t) => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'spill.log')
    const whole = [entry({ userAgent: 'a' }), entry({ attempts: [] }, true), entry({ error: 'ü' })]
    const last = entry({ userAgent: 'the last one' })
    let start = 0
    {
      await using spill = await SpillFile.open(path, SMALL)
      await spill.append(whole)
      const bytes = await readFile(path)
      for (start = 16; bytes.readUInt32LE(start) > 0; ) start += 12 + bytes.readUInt32LE(start)
      await spill.append([last])
    }
    const good = await readFile(path)
    const end = start + 12 + good.readUInt32LE(start)
    t.same(await found(path, SMALL), [...whole, last])

    // Damaged in place, at every offset in turn.
    const wrong: string[] = []
    const file = await open(path, 'r+')
    const check = async (damage: string, from: number, bytes: Buffer) => {
      await file.write(bytes, 0, bytes.length, from)
      const entries = await found(path, SMALL)
      if (JSON.stringify(entries) !== JSON.stringify(whole))
        wrong.push(`${damage} at ${from - start}: ${entries.length}`)
      await file.write(good, start, end - start, start)
    }
    for (let at = start; at < end; at++) {
      await check('torn', at, Buffer.alloc(end - at))
      await check('flipped', at, Buffer.from([(good[at] as number) ^ (1 << (at % 8))]))
    }
    await file.close()
    t.same(wrong, [])
    t.same(await found(path, SMALL), [...whole, last], 'and the file is as it was')

    // A file that ends in the middle, as after a copy that was broken off.
    const cuts = Array.from({ length: 20 }, (_, n) => start + Math.floor(((end - start) * n) / 20))
    for (const cut of cuts) {
      await writeFile(path, good.subarray(0, cut))
      const entries = await found(path, SMALL)
      if (JSON.stringify(entries) !== JSON.stringify(whole)) wrong.push(`cut at ${cut - start}`)
    }
    t.same(wrong, [])
    t.equal((await stat(path)).size, SMALL, 'it is whole again')
  },
)

t.test('any order of appends, clears and restarts keeps what was not cleared', async () => {
  using folder = temporaryFolder()
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        sizes: fc.array(fc.nat(600), { minLength: 1, maxLength: 4 }),
      }),
    },
    fc.record({ kind: fc.constant('clear' as const) }),
    fc.record({ kind: fc.constant('restart' as const) }),
    fc.record({
      kind: fc.constant('tear' as const),
      sizes: fc.array(fc.nat(600), { minLength: 1, maxLength: 4 }),
      bytes: fc.nat(400),
    }),
  )
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const path = join(folder.path, `spill-${run++}`)
      let expected: RecordEntry[] = []
      let spill = await SpillFile.open(path, SMALL)
      for (const step of steps) {
        if (step.kind === 'append') {
          const entries = step.sizes.map((size) => entry({ userAgent: 'x'.repeat(size) }))
          await spill.append(entries)
          expected.push(...entries)
        } else if (step.kind === 'clear') {
          await spill.clear(expected.length)
          expected = []
        } else {
          if (step.kind === 'tear') await tear(spill, path, step)
          await spill[Symbol.asyncDispose]()
          spill = await SpillFile.open(path, SMALL)
        }
      }
      await spill[Symbol.asyncDispose]()
      return JSON.stringify(await found(path, SMALL)) === JSON.stringify(expected)
    }),
    { seed: 20261125, numRuns: 40 },
  )
})

/** An append whose process died before its last bytes were written. */
async function tear(
  spill: SpillFile,
  path: string,
  { sizes, bytes }: { sizes: number[]; bytes: number },
): Promise<void> {
  const before = await readFile(path)
  await spill.append([entry({ userAgent: 'x'.repeat(sizes[0] ?? 0) })])
  const after = await readFile(path)
  const start = before.findIndex((byte, at) => byte !== after[at])
  // Its length is written, so at least the last of its bytes is missing.
  const keep = start + 4 + Math.min(bytes, 300)
  const file = await open(path, 'r+')
  await file.write(before, keep, before.length - keep, keep)
  await file.close()
}

spillTest('what does not fit is refused, and what fits is still there', async (t, path) => {
  const big = entry({ userAgent: 'x'.repeat(1024 * 1024) })
  {
    await using spill = await SpillFile.open(path)
    for (let n = 0; n < 7; n++) await spill.append([big])
    await t.rejects(spill.append([big]), { code: 'unavailable', message: 'the spill file is full' })
    await t.rejects(spill.append([entry(), big]), { code: 'unavailable' }, 'all or nothing')
    await spill.append([entry({ userAgent: 'small' })])
    t.equal(spill.entries.length, 8)
  }
  {
    await using spill = await SpillFile.open(path)
    t.equal(spill.entries.length, 8)
    // Filled to the last byte.
    const used = (await readFile(path)).findLastIndex((byte) => byte !== 0) + 1
    const empty = JSON.stringify(entry({ userAgent: '' })).length
    await spill.append([entry({ userAgent: 'x'.repeat(SPILL_BYTES - used - 12 - empty) })])
    await t.rejects(spill.append([entry()]), { code: 'unavailable' })
    t.equal((await stat(path)).size, SPILL_BYTES)
  }
  {
    await using spill = await SpillFile.open(path)
    t.equal(spill.entries.length, 9)
    await spill.clear(9)
    await spill.append([big])
  }
  t.equal((await found(path)).length, 1)
})

spillTest('a file that is none of ours, or whose beginning is damaged, is refused', async (t, path) => {
  await writeFile(path, 'somebody put this here')
  await t.rejects(SpillFile.open(path), {
    code: 'unavailable',
    message: `${path} is damaged, or is no spill file`,
    facts: { hint: 'It may hold charges that are not stored yet: keep a copy of it, then move it away.' },
  })
  await writeFile(path, Buffer.alloc(1000)) // its process died while it was made
  t.same(await found(path), [])
})

spillTest('a file that cannot be had is told of with the remedy', async (t, path) => {
  await t.rejects(SpillFile.open(join(path, 'in', 'no', 'folder')), {
    code: 'unavailable',
    message: /the spill file cannot be opened: ENOENT/,
    facts: { hint: /It takes 8 MiB of disk/ },
  })
  const spill = await SpillFile.open(path)
  await spill[Symbol.asyncDispose]()
  await t.rejects(spill.append([entry()]), { code: 'unavailable', message: /the spill file cannot be written/ })
})

// Official Node binaries from version 25 on need libatomic.so.1, which a plain Debian or Ubuntu does not have, for a single
// function: __atomic_compare_exchange, which V8 calls with a size of 8 for the heads of its free lists. This gives a Linux
// x86-64 executable that function itself (one `lock cmpxchg`) and takes the library off its list.
//
// Plain JavaScript for any Node from 18 on: it prepares the runtime that everything else runs on.
//
//   node scripts/without-libatomic.mjs FILE        changes the file; exit code 1 and a sentence if it is not as expected

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'

const LIBRARY = 'libatomic.so.1'
const FUNCTION = '__atomic_compare_exchange'

const DT_NEEDED = 1n
const R_X86_64_NONE = 0
const R_X86_64_JUMP_SLOT = 7
const DT_VERNEED = 0x6ffffffen
const DT_VERNEEDNUM = 0x6fffffffn
const PT_LOAD = 1
const READ_AND_EXECUTE = 5
const SHT_RELA = 4
const PLT_ENTRY_BYTES = 16
const PAGE_BYTES = 4096

// bool __atomic_compare_exchange(size_t size: rdi, void *object: rsi, void *expected: rdx, void *desired: rcx, …)
const CODE = Buffer.from([
  ...[0x48, 0x83, 0xff, 0x08], //       cmp  rdi, 8
  ...[0x75, 0x19], //                   jne  trap
  ...[0x48, 0x8b, 0x02], //             mov  rax, [rdx]
  ...[0x48, 0x8b, 0x09], //             mov  rcx, [rcx]
  ...[0xf0, 0x48, 0x0f, 0xb1, 0x0e], // lock cmpxchg [rsi], rcx
  ...[0x75, 0x06], //                   jne  changed
  ...[0xb8, 0x01, 0x00, 0x00, 0x00], // mov  eax, 1
  ...[0xc3], //                         ret
  ...[0x48, 0x89, 0x02], // changed:    mov  [rdx], rax
  ...[0x31, 0xc0], //                   xor  eax, eax
  ...[0xc3], //                         ret
  ...[0x0f, 0x0b], // trap:             ud2
])

/** Returns whether anything had to be changed. Throws if the file is not such an executable. */
export function freeOfLibatomic(elf) {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf.readUInt16LE(18) !== 62) {
    throw new Error('not a Linux x86-64 executable')
  }
  const sections = readSections(elf)
  const strings = sections.get('.dynstr')
  const text = (offset) => elf.toString('latin1', strings.offset + offset, elf.indexOf(0, strings.offset + offset))

  const dynamic = entries(sections.get('.dynamic'), 16)
  const needed = dynamic.filter((at) => elf.readBigUInt64LE(at) === DT_NEEDED)
  const nameAt = (at) => Number(elf.readBigUInt64LE(at + 8))
  const ours = needed.find((at) => text(nameAt(at)) === LIBRARY)
  if (ours === undefined) return false
  const libc = needed.find((at) => text(nameAt(at)) === 'libc.so.6')
  if (libc === undefined) throw new Error('it does not need libc.so.6')

  // The one call that goes to the library, through its entry in the procedure linkage table.
  const symbols = sections.get('.dynsym').offset
  const isOurs = (at) => text(elf.readUInt32LE(symbols + elf.readUInt32LE(at + 12) * 24)) === FUNCTION
  const tables = [...sections.values()].filter(({ type }) => type === SHT_RELA)
  const [call, ...more] = tables.flatMap((table) => entries(table, 24).filter(isOurs))
  if (call === undefined || more.length > 0 || elf.readUInt32LE(call + 8) !== R_X86_64_JUMP_SLOT) {
    throw new Error(`it uses ${FUNCTION} in another way than through one jump slot`)
  }
  const plt = sections.get('.plt')
  const slot = Number(elf.readBigUInt64LE(call))
  const jump = entries(plt, PLT_ENTRY_BYTES).find((at) => {
    const address = plt.address + at - plt.offset
    return elf.readUInt16LE(at) === 0x25ff && address + 6 + elf.readInt32LE(at + 2) === slot
  })
  if (jump === undefined) throw new Error('its jump table is laid out in another way')

  // The function goes behind the executable segment, whose last page has room, and the table's entry jumps there.
  const segment = entries({ offset: Number(elf.readBigUInt64LE(32)), size: elf.readUInt16LE(56) * 56 }, 56).find(
    (at) => elf.readUInt32LE(at) === PT_LOAD && elf.readUInt32LE(at + 4) === READ_AND_EXECUTE,
  )
  const bytes = Number(elf.readBigUInt64LE(segment + 32))
  const room = (bytes + 15) & ~15
  const code = Number(elf.readBigUInt64LE(segment + 8)) + room
  if (code % PAGE_BYTES === 0 || !elf.subarray(code, code + CODE.length).equals(Buffer.alloc(CODE.length))) {
    throw new Error('there is no room for the function')
  }
  CODE.copy(elf, code)
  elf.writeBigUInt64LE(BigInt(room + CODE.length), segment + 32)
  elf.writeBigUInt64LE(BigInt(room + CODE.length), segment + 40)
  const address = Number(elf.readBigUInt64LE(segment + 16)) + room
  elf[jump] = 0xe9
  elf.writeInt32LE(address - (plt.address + jump - plt.offset + 5), jump + 1)
  elf.writeUInt32LE(R_X86_64_NONE, call + 8)

  // The library leaves the lists: the needed ones (its place is taken by one that is there anyway) and those with versions.
  elf.writeBigUInt64LE(BigInt(nameAt(libc)), ours + 8)
  const number = dynamic.find((at) => elf.readBigUInt64LE(at) === DT_VERNEEDNUM)
  const first = dynamic.find((at) => elf.readBigUInt64LE(at) === DT_VERNEED)
  let before = null
  for (let at = sections.get('.gnu.version_r').offset; ; at += elf.readUInt32LE(at + 12)) {
    const next = elf.readUInt32LE(at + 12)
    if (text(elf.readUInt32LE(at + 4)) === LIBRARY) {
      if (before === null) elf.writeBigUInt64LE(elf.readBigUInt64LE(first + 8) + BigInt(next), first + 8)
      else elf.writeUInt32LE(next === 0 ? 0 : at - before + next, before + 12)
      elf.writeBigUInt64LE(elf.readBigUInt64LE(number + 8) - 1n, number + 8)
      return true
    }
    if (next === 0) throw new Error('it names no version of the library')
    before = at
  }
}

function entries({ offset, size }, bytes) {
  return Array.from({ length: Math.floor(size / bytes) }, (_, index) => offset + index * bytes)
}

/** Sections by name: where they are in the file and in memory. */
function readSections(elf) {
  const table = Number(elf.readBigUInt64LE(40))
  const names = elf.readUInt16LE(62)
  const section = (index) => {
    const at = table + index * 64
    return {
      name: elf.readUInt32LE(at),
      type: elf.readUInt32LE(at + 4),
      address: Number(elf.readBigUInt64LE(at + 16)),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      size: Number(elf.readBigUInt64LE(at + 32)),
    }
  }
  const namesAt = section(names).offset
  const nameOf = ({ name }) => elf.toString('latin1', namesAt + name, elf.indexOf(0, namesAt + name))
  return new Map(
    Array.from({ length: elf.readUInt16LE(60) }, (_, index) => section(index)).map((one) => [nameOf(one), one]),
  )
}

const file = process.argv[2]
if (file) {
  try {
    const elf = readFileSync(file)
    if (freeOfLibatomic(elf)) {
      const fd = openSync(file, 'r+')
      writeSync(fd, elf)
      closeSync(fd)
    }
  } catch (error) {
    process.stderr.write(`${file}: ${error.message}\n`)
    process.exitCode = 1
  }
}

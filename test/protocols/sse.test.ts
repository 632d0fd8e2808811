import fc from 'fast-check'
import t from 'tap'
import { EventTooLarge, placeOfData, readEvents, SseSplitter } from '../../src/protocols/sse.ts'

/** Lines as SSE defines them. A CR at the very end may be half of a CRLF: it ends its line only if `closed`. */
function linesOf(text: string, closed: boolean): { line: string; end: number }[] {
  const lines: { line: string; end: number }[] = []
  const pattern = closed ? /([^\r\n]*)(\r\n|\r|\n)/g : /([^\r\n]*)(\r\n|\r(?!$)|\n)/g
  for (const match of text.matchAll(pattern))
    lines.push({ line: match[1] as string, end: match.index + match[0].length })
  return lines
}

/** The end of every blank line: where a stream may be cut. Slow and obviously right. */
function boundaries(text: string, closed = true): number[] {
  return linesOf(text, closed)
    .filter(({ line }) => line === '')
    .map(({ end }) => end)
}

/** The events of a text by the letter of the specification, with where each begins. */
function eventsOf(text: string) {
  const events: { name: string; data: string; start: number }[] = []
  let name = ''
  let data: string[] = []
  let start = 0
  for (const { line, end } of linesOf(text, true)) {
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) as RegExpExecArray
    if (line === '') {
      if (name || data.length > 0) events.push({ name: name || 'message', data: data.join('\n'), start })
      name = ''
      data = []
      start = end
    } else if (field === 'event') name = value
    else if (field === 'data') data.push(value)
  }
  return events
}

const pieces = fc.constantFrom(
  '\n',
  '\n',
  '\r',
  '\r\n',
  'event: a',
  'event:b',
  'data: {"x":1}',
  'data:1',
  'data',
  ': comment',
  ':',
  'id: 7',
  'x',
  'é',
  '😀',
  '\uFEFF',
  ' ',
)
const streams = fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join(''))
const cuts = fc.array(fc.nat(200), { maxLength: 12 })

function cut(bytes: Buffer, at: number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length))
}

t.test('whatever the cuts, whole events come out as soon as their blank line is in, byte for byte', async () => {
  fc.assert(
    fc.property(streams, cuts, (stream, cuts) => {
      const bytes = Buffer.from(stream)
      const text = bytes.toString('latin1')
      const splitter = new SseSplitter()
      let taken = 0
      let passed = Buffer.alloc(0)
      for (const piece of cut(bytes, cuts)) {
        const events = splitter.push(piece)
        taken += piece.length
        if (events) passed = Buffer.concat([passed, events])
        if (passed.length !== (boundaries(text.slice(0, taken), false).at(-1) ?? 0)) return false
      }
      return Buffer.concat([passed, splitter.rest() ?? Buffer.alloc(0)]).equals(bytes) && splitter.rest() === null
    }),
    { numRuns: 5000 },
  )
})

t.test('events are read as the specification says, and where they begin', async () => {
  fc.assert(
    fc.property(streams, (stream) => {
      const whole = [...readEvents(stream)].filter((event) => event.whole)
      const expected = eventsOf(stream).map((event) => ({ ...event, whole: true }))
      return JSON.stringify(whole) === JSON.stringify(expected)
    }),
    { numRuns: 5000 },
  )
})

t.test("every character of an event's data is found where it stands, over all its lines", async () => {
  fc.assert(
    fc.property(streams, (stream) =>
      [...readEvents(stream)].every(({ data, start }) =>
        Array.from({ length: data.length }, (_, at) => at).every((at) => {
          const found = stream[placeOfData(stream, start, at)]
          return data[at] === '\n' ? found === '\n' || found === '\r' : found === data[at]
        }),
      ),
    ),
    { numRuns: 2000 },
  )
})

t.test('an event that lacks its blank line is read too, and marked', async (t) => {
  t.same(
    [...readEvents('event: a\ndata: 1\n\nevent: b\ndata: 2\n')],
    [
      { name: 'a', data: '1', start: 0, whole: true },
      { name: 'b', data: '2', start: 18, whole: false },
    ],
  )
  t.same([...readEvents('event: b\ndata: 2')], [{ name: 'b', data: '2', start: 0, whole: false }])
  t.same([...readEvents(': nothing')], [])
  t.same([...readEvents('')], [])
  t.same([...readEvents('event: \ndata: 2\n\n')], [{ name: 'message', data: '2', start: 0, whole: true }])
})

function isTooLarge(push: () => unknown): boolean {
  try {
    push()
    return false
  } catch (error) {
    return error instanceof EventTooLarge
  }
}

t.test('an event may be long, but not without end', async (t) => {
  const splitter = new SseSplitter(1_000_000)
  const piece = Buffer.alloc(50_000, 'x')
  for (let i = 0; i < 19; i++) t.equal(splitter.push(piece), null)
  t.equal(splitter.push(Buffer.from('\n\n'))?.length, 19 * 50_000 + 2, 'what it held counts no more')
  for (let i = 0; i < 19; i++) splitter.push(piece)
  t.ok(isTooLarge(() => splitter.push(piece)))
  const byByte = new SseSplitter(1_000_000)
  const pushByBytes = () => {
    for (let i = 0; i < 10_000; i++) byByte.push(Buffer.from('x'))
  }
  t.ok(isTooLarge(pushByBytes), 'pieces count too')
})

t.test('the limit that is in force is 64 MiB', async (t) => {
  const splitter = new SseSplitter()
  const piece = Buffer.alloc(1024 * 1024, 'x')
  for (let i = 0; i < 63; i++) splitter.push(piece)
  t.ok(isTooLarge(() => splitter.push(piece)))
})

t.test('a long event takes linear time to read', async (t) => {
  const before = performance.now()
  for (const piece of ['x', ': ', 'data: \n', '\r', ':\r\n']) {
    t.ok([...readEvents(`event: a\ndata: ${piece.repeat(500_000)}\n\n`)].length > 0)
  }
  t.ok(performance.now() - before < 20_000)
})

import fc from 'fast-check'
import t from 'tap'
import { elementPlaces, JsonScanError, scanTopLevel, withValueAt } from '../../src/lib/json-scan.ts'

const WANTED = ['model', 'stream', 'messages', '__proto__', 'constructor', 'a', '']
const wanted = new Set(WANTED)

interface Member {
  name: string
  value: unknown
}

/** What the scanner makes of a text. */
function scan(text: string): { values: unknown[] } | { refused: string } {
  try {
    const object = scanTopLevel(Buffer.from(text), wanted)
    return { values: WANTED.map((name) => object.value(name)) }
  } catch (error) {
    if (error instanceof JsonScanError) return { refused: error.message }
    throw error
  }
}

/** Writes an object in one of the many ways in which JSON may be written. */
function write(members: Member[], { space, escaped }: { space: string; escaped: boolean }): string {
  const name = (text: string) =>
    escaped
      ? `"${Array.from(text, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(text)
  const written = members.map(
    (member) => `${space}${name(member.name)}${space}:${space}${JSON.stringify(member.value)}${space}`,
  )
  return `${space}{${written.join(',') || space}}${space}`
}

const names = fc.oneof(fc.constantFrom(...WANTED, 'Model', 'model ', 'mode', 'metadata'), fc.string({ unit: 'binary' }))
const values = fc.jsonValue({ maxDepth: 4 })
const members = fc.array(fc.record({ name: names, value: values }), { maxLength: 8 })
const style = fc.record({ space: fc.constantFrom('', ' ', '\n\t', '\r\n  '), escaped: fc.boolean() })

t.test('the wanted values are what JSON.parse says, however the object is written', async () => {
  fc.assert(
    fc.property(members, style, (members, style) => {
      const text = write(members, style)
      const result = scan(text)
      const wantedNames = members.map(({ name }) => name).filter((name) => wanted.has(name))
      if (new Set(wantedNames).size < wantedNames.length) return 'refused' in result && result.refused.includes('twice')
      if (!('values' in result)) return false
      const parsed = new Map(members.map(({ name, value }) => [name, value]))
      return WANTED.every((name, i) => JSON.stringify(result.values[i]) === JSON.stringify(parsed.get(name)))
    }),
    { numRuns: 3000 },
  )
})

t.test('another value in the place of one leaves every other byte as it was', async () => {
  fc.assert(
    fc.property(members, style, values, (members, style, value) => {
      const before = write([...members.filter(({ name }) => name !== 'model'), { name: 'model', value: 'é' }], style)
      const body = Buffer.from(before)
      const place = scanTopLevel(body, new Set(['model'])).place('model')
      if (!place) return false
      const after = withValueAt(body, place, value)
      const written = JSON.stringify(value)
      const restored = withValueAt(after, [place[0], place[0] + Buffer.byteLength(written)], 'x')
      return (
        JSON.stringify(JSON.parse(after.toString()).model) === JSON.stringify(JSON.parse(written)) &&
        restored.equals(withValueAt(body, place, 'x'))
      )
    }),
    { numRuns: 1000 },
  )
})

t.test('strings full of quotes, backslashes and braces do not mislead it', async () => {
  const tricky = fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'é', '😀', '\n', 'a') })
  fc.assert(
    fc.property(tricky, tricky, tricky, (before, name, after) => {
      const text = `{${JSON.stringify(`x${before}`)}:${JSON.stringify([before, { [name]: after }])},"model":${JSON.stringify(after)}}`
      const result = scan(text)
      return 'values' in result && result.values[0] === after
    }),
    { numRuns: 2000 },
  )
})

/** Texts that are almost JSON: bytes exchanged, left out, put in, doubled, cut off. */
const damaged = fc
  .tuple(
    members,
    style,
    fc.array(
      fc.tuple(fc.nat(), fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', ' ', '1', '\u0000', 'é')),
      { minLength: 1, maxLength: 4 },
    ),
    fc.boolean(),
  )
  .map(([members, style, changes, cut]) => {
    let text = write(members, style)
    for (const [at, put] of changes) {
      const i = at % (text.length + 1)
      text = cut ? text.slice(0, i) : text.slice(0, i) + put + text.slice(i + (at % 2))
    }
    return text
  })

t.test('of damaged texts it refuses none that JSON.parse takes, and throws nothing but its own error', async () => {
  fc.assert(
    fc.property(fc.oneof(damaged, fc.string({ unit: 'binary' }), fc.json()), (text) => {
      const result = scan(text)
      let parsed: unknown
      try {
        parsed = JSON.parse(text)
      } catch {
        return true // whether it is refused here or by whoever reads the values is all the same
      }
      if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) return 'refused' in result
      if ('refused' in result) return result.refused.includes('twice')
      return WANTED.every((name, i) => {
        const expected = Object.hasOwn(parsed as object, name) ? (parsed as Record<string, unknown>)[name] : undefined
        return JSON.stringify(result.values[i]) === JSON.stringify(expected)
      })
    }),
    { numRuns: 5000 },
  )
})

t.test('every truncation of an object is refused', async (t) => {
  const text = '{"model":"m","a":[1,{"b":"\\"]}"}],"stream":true,"x":-1.5e3,"y":null}'
  const taken = Array.from(text, (_, i) => text.slice(0, i)).filter((cut) => 'values' in scan(cut))
  t.same(taken, [])
  t.ok('values' in scan(text))
})

t.test('a routing key is found in every disguise, and never twice', async (t) => {
  t.same(scan('{"mod\\u0065l":"m"}'), scan('{"model":"m"}'))
  const twice = ['{"model":1,"model":2}', '{"model":1,"mod\\u0065l":2}', '{"\\u006dodel":1,"a":{},"model":1}']
  t.same(
    twice.map(scan),
    twice.map(() => ({ refused: "has the key 'model' twice" })),
  )
  t.match(scan('{"x":{"model":1},"y":[{"model":2}],"model":3}'), { values: [3] })
  t.ok('values' in scan('{"other":1,"other":2}'), 'a duplicate of a key that nobody reads is no concern of ours')
  t.equal(({} as Record<string, unknown>).polluted, undefined)
  const object = scanTopLevel(Buffer.from('{"__proto__":{"polluted":1},"model":"m"}'), wanted)
  t.equal(({} as Record<string, unknown>).polluted, undefined)
  t.equal(object.value('toString'), undefined)
  t.equal(object.raw('__proto__'), '{"polluted":1}')
})

t.test('nesting has a limit, and long texts take linear time', async (t) => {
  const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  t.ok('values' in scan(nested(512)))
  t.match(scan(nested(513)), { refused: /deeper than 512/ })
  t.match(scan('{"a":'.repeat(100_000)), { refused: /deeper than 512/ })
  const before = performance.now()
  const hostile = ['\\"', '\\\\', '"', '{', '"a":"', ' ', '\\\\"', '[]', '1']
  for (const piece of hostile) scan(`{"a":"${piece.repeat(500_000)}`)
  for (const piece of hostile) scan(`{"a":${piece.repeat(500_000)}`)
  t.ok(performance.now() - before < 20_000)
})

t.test('what is no object is refused in words for whoever sent it', async (t) => {
  t.same(['', ' ', '[]', '"a"', 'null', '1', '<html>'].map(scan), Array(7).fill({ refused: 'must be a JSON object' }))
  const refusals: [string, string][] = [
    ['{"a":1,}', 'is not valid JSON: a key must be a string'],
    ['{a:1}', 'is not valid JSON: a key must be a string'],
    ['{"a"}', 'is not valid JSON: a key without a colon'],
    ['{"a":}', 'is not valid JSON: a key without a value'],
    ['{"a":1 2}', 'is not valid JSON: a comma or a closing brace is missing'],
    ['{"a":1}{}', 'is not valid JSON: something follows the object'],
    ['{"a":"', 'is not valid JSON: it ends too early'],
    ['{"\\x":1}', 'is not valid JSON: a key is not a valid string'],
  ]
  t.same(
    refusals.map(([text]) => scan(text)),
    refusals.map(([, refused]) => ({ refused })),
  )
  t.equal(scanTopLevel(Buffer.from('{"model":tru}'), wanted).value('model'), undefined, 'structure, not grammar')
})

t.test('the elements of an array are found, of one whole array only', async (t) => {
  const elements = (text: string) => {
    const body = Buffer.from(text)
    return elementPlaces(body)?.map(([start, end]) => body.toString('utf8', start, end)) ?? null
  }
  t.same(elements(' [ {"a":[1,"]"]} ,\n"é, " , 7,[] ] '), ['{"a":[1,"]"]}', '"é, "', '7', '[]'])
  t.same(elements('[]'), [])
  for (const text of ['', '{}', '[', '[1', '[1,', '[1]x', '[1 2]', '["a]', '[,]']) t.equal(elements(text), null, text)
})

import fc from 'fast-check'
import t from 'tap'
import { isGatewayError } from '../../src/domain/errors.ts'
import { isForm, scanForm } from '../../src/protocols/multipart.ts'

const TYPE = 'multipart/form-data; boundary=XyZ'
const WANTED = new Set(['model', 'stream'])

const part = (disposition: string, value: string, more = '') =>
  `--XyZ\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n${value}\r\n`
const form = (...parts: string[]) => Buffer.from(`${parts.join('')}--XyZ--\r\n`, 'latin1')
const FILE = part('name="file"; filename="a.mp3"', '\x00\xffbytes\r\n--Xy\r\n', 'Content-Type: audio/mpeg\r\n')
const MODEL = part('name="model"', 'whisper-1')

/** The model that is found, or the refusal. */
function modelIn(body: Buffer, type = TYPE): string | undefined {
  try {
    return scanForm(type, body, WANTED).text('model')
  } catch (error) {
    if (!isGatewayError(error, 'invalid_request')) throw error
    return `refused: ${error.message}`
  }
}

t.test('the value is found wherever its part stands, and however its name is written', async (t) => {
  const forms = {
    alone: form(MODEL),
    first: form(MODEL, FILE),
    last: form(FILE, part('name="language"', 'en'), MODEL),
    'without quotes': form(FILE, part('name=model', 'whisper-1')),
    'in another case': form(`--XyZ\r\ncontent-DISPOSITION:form-data;NAME="model"\r\n\r\nwhisper-1\r\n`),
    'behind other headers': form(part('name="model"', 'whisper-1', 'Content-Type: text/plain; charset=utf-8\r\n')),
    'without a last line end': form(FILE, MODEL).subarray(0, -2),
  }
  for (const [name, body] of Object.entries(forms)) {
    const scanned = scanForm(TYPE, body, WANTED)
    t.equal(scanned.text('model'), 'whisper-1', name)
    const [start, end] = scanned.place('model') ?? [0, 0]
    t.equal(body.toString('latin1', start, end), 'whisper-1', name)
  }
  t.equal(modelIn(form(FILE)), undefined)
  t.equal(modelIn(form(part('name="model"', ''))), '', 'an empty value is one')
  t.equal(modelIn(form(part('name="models"', 'x'), part('name="MODEL"', 'x'))), undefined, 'other names are others')
  t.equal(scanForm(TYPE, form(FILE, MODEL, part('name="language"', 'en')), WANTED).fieldBytes, 'whisper-1en'.length)
})

t.test('boundaries are read in quotes and without', async (t) => {
  const body = form(MODEL)
  for (const type of [
    'multipart/form-data; boundary="XyZ"',
    'Multipart/Form-Data;boundary=XyZ;',
    'multipart/form-data; charset=utf-8; Boundary=XyZ',
  ]) {
    t.ok(isForm(type))
    t.equal(modelIn(body, type), 'whisper-1', type)
  }
  t.notOk(
    ['application/json', 'multipart/form-data-x; boundary=a', 'multipart/mixed; boundary=a', undefined].some(isForm),
  )
  const wrong = [
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=""',
    'multipart/form-data; boundary=XyZ; boundary=XyZ',
    'multipart/form-data; boundary="a\\"b"',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
  ]
  for (const type of wrong) t.match(modelIn(body, type), /^refused: content-type: /, type)
})

t.test('nothing in a file, or in its name, is taken for the field', async (t) => {
  const inside = `Content-Disposition: form-data; name="model"\r\n\r\nevil\r\n--Xyz\r\n--XyX`
  t.equal(modelIn(form(part('name="file"; filename="x"', inside), MODEL)), 'whisper-1')
  t.equal(modelIn(form(part('name="file"; filename="x; name=\\"model\\""', 'evil'), MODEL)), 'whisper-1')
  t.equal(modelIn(form(part('name="file"; filename="C:\\\\dir\\\\a.mp3"', 'evil'), MODEL)), 'whisper-1')
  t.equal(modelIn(form(part(`name="file"; filename*=utf-8''a`, 'x'), MODEL)), 'whisper-1')
})

t.test('what others might read in another way is refused in a sentence', async (t) => {
  const refused: [string, Buffer, RegExp][] = [
    ['twice', form(MODEL, FILE, MODEL), /field 'model' twice/],
    ['a file', form(part('name="model"; filename="m"', 'x')), /model: .*not a file/],
    ['a nameless file', form(part('name="model"; filename=""', 'x')), /model: .*not a file/],
    ['two names', form(part('name="a"; name="model"', 'x')), /name/],
    ['two dispositions', form(part('name="a"', 'x', 'Content-Disposition: form-data; name="model"\r\n')), /name/],
    ['an encoded name', form(part(`name="a"; name*=utf-8''model`, 'x')), /name/],
    ['an escaped name', form(part('name="mod\\el"', 'x')), /name/],
    ['no name', form(part('filename="a"', 'x')), /name/],
    ['no disposition', form('--XyZ\r\nContent-Type: text/plain\r\n\r\nx\r\n'), /name/],
    ['another disposition', form('--XyZ\r\nContent-Disposition: attachment; name="model"\r\n\r\nx\r\n'), /name/],
    ['no headers', form('--XyZ\r\n\r\nx\r\n'), /name/],
    ['a quote left open', form(part('name="model', 'x')), /name/],
    ['a folded header', form(part('name="a"', 'x', ' ; name="model"\r\n')), /headers of a part/],
    ['half a line end', form(part('name="a"\nContent-Disposition: form-data; name="model"', 'x')), /headers of a part/],
    ['an encoded value', form(part('name="model"', 'eA==', 'Content-Transfer-Encoding: base64\r\n')), /encoded/],
    ['a preamble', Buffer.concat([Buffer.from('hi\r\n'), form(MODEL)]), /begin with its boundary/],
    ['an epilogue', Buffer.concat([form(MODEL), Buffer.from('--XyZ')]), /follows its last boundary/],
    ['a cut', form(MODEL).subarray(0, -8), /last boundary is missing/],
    ['a cut within the headers', form(MODEL).subarray(0, 20), /blank line/],
    ['a longer boundary', form(part('name="a"', 'x\r\n--XyZa')), /end of its line/],
    ['line ends without CR', Buffer.from(form(MODEL).toString().replaceAll('\r', '')), /end of its line/],
    ['endless headers', form(part('name="a"', 'x', `X: ${'x'.repeat(9000)}\r\n`)), /too much/],
    ['endless parts', form(...Array(257).fill(part('name="a"', 'x'))), /more than 256 parts/],
    ['nothing', Buffer.alloc(0), /begin with its boundary/],
  ]
  for (const [name, body, why] of refused) t.match(modelIn(body), new RegExp(`^refused: .*${why.source}`), name)
})

t.test('garbage is refused, and nothing else is thrown', async () => {
  const pieces = fc.constantFrom(
    ...['--XyZ', '\r\n', '\n', '--', '\r\n\r\n', 'Content-Disposition: form-data; ', 'name="model"', 'name=model', ';'],
    ...['filename="', '"', '\\', 'whisper-1', '\x00', '\xff', '--XyZ--', '--XyZ\r\n', ' '],
  )
  const made = fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 })), { maxLength: 40 }).map((all) => all.join(''))
  fc.assert(
    fc.property(made, fc.constantFrom(TYPE, 'multipart/form-data; boundary='), (text, type) => {
      modelIn(Buffer.from(text, 'latin1'), type)
    }),
    { numRuns: 20_000 },
  )
  const damaged = fc.tuple(fc.nat(form(FILE, MODEL).length - 1), fc.nat(255))
  fc.assert(
    fc.property(damaged, ([at, byte]) => {
      const body = form(FILE, MODEL)
      body[at] = byte
      modelIn(body)
    }),
    { numRuns: 5000 },
  )
})

t.test('any values of any files come through, and the model is found between them', async () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((all) => Buffer.from(all).toString('latin1'))
  const safe = bytes.filter((text) => !text.includes('--XyZ'))
  fc.assert(
    fc.property(fc.array(safe, { maxLength: 4 }), fc.array(safe, { maxLength: 4 }), (before, after) => {
      const file = (value: string, index: number) => part(`name="f${index}"; filename="f"`, value)
      return modelIn(form(...before.map(file), MODEL, ...after.map(file))) === 'whisper-1'
    }),
    { numRuns: 2000 },
  )
})

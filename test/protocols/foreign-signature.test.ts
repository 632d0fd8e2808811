import t from 'tap'
import { isRedacted, unwrappedSignature, wrappedSignature } from '../../src/protocols/foreign-signature.ts'

t.test('a signature travels through another vendor’s client and comes back, its own as it is', async (t) => {
  const gemini = { vendor: 'gemini', value: 'a.b=' } as const
  t.equal(wrappedSignature(gemini, 'gemini'), 'a.b=')
  t.equal(wrappedSignature(gemini, 'openai'), 'subgate.gemini.a.b=')
  t.same(unwrappedSignature('subgate.gemini.a.b=', 'openai'), gemini)
  t.same(unwrappedSignature('a.b=', 'openai'), { vendor: 'openai', value: 'a.b=' })
  t.same(unwrappedSignature('subgate.nobody.x', 'openai'), { vendor: 'openai', value: 'subgate.nobody.x' })
})

t.test('so does that it stands for words which the vendor hid', async (t) => {
  const hidden = { vendor: 'anthropic', value: 'EqQB' } as const
  const wrapped = wrappedSignature(hidden, 'openai', true)
  t.same(unwrappedSignature(wrapped, 'openai'), hidden)
  t.same(
    [isRedacted(wrapped), isRedacted(wrappedSignature(hidden, 'openai')), isRedacted('EqQB')],
    [true, false, false],
  )
})

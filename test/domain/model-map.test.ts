import t from 'tap'
import {
  changedModelMap,
  checkedModelMap,
  exactNames,
  parseModelMapChange,
  upstreamModels,
} from '../../src/domain/model-map.ts'

t.test('what a model is sent as', async (t) => {
  const map = {
    'claude-*': 'big',
    'claude-haiku-*': 'small',
    '*-haiku-4': 'four',
    '*-haiku-5': 'five',
    'claude-opus-5-5': 'claude-opus-5-5',
    'gpt-6': 'six',
  }
  const upstreamModelOf = upstreamModels(['gpt-*', 'claude-sonnet-*', 'kimi'], map)
  const cases: [asked: string, sent: string | null, why: string][] = [
    ['gpt-6', 'six', 'an exact name'],
    ['claude-opus-5-5', 'claude-opus-5-5', 'an exact name that stays what it is, although a pattern fits'],
    ['claude-sonnet-5', 'big', 'a pattern of the map, although the account serves it by its own name as well'],
    ['claude-haiku-3', 'small', 'the pattern that says most'],
    ['claude-haiku-4', 'small', 'by characters, not by its place'],
    ['an-haiku-5', 'five', 'the only one that fits'],
    ['gpt-5', 'gpt-5', 'what is not in the map goes by the patterns of models'],
    ['kimi', 'kimi', 'or by their names'],
    ['six', null, 'what a map sends is not served for that'],
    ['kimi-2', null, 'and nothing else is served'],
    ['', null, 'nor is nothing'],
    ['toString', null, 'nor what every object has'],
    ['__proto__', null, 'nor that'],
  ]
  for (const [asked, sent, why] of cases) t.equal(upstreamModelOf(asked), sent, why)
  const tied = upstreamModels([], { '*-ab': 'first', 'ab-*': 'second' })
  t.equal(tied('ab-ab'), 'first', 'of two that say as much the first counts')
})

t.test('a map alone serves what it names, and without one the patterns count', async (t) => {
  t.same(['a', 'b'].map(upstreamModels([], { a: 'x' })), ['x', null])
  t.same(['a', 'b'].map(upstreamModels(['b'], {})), [null, 'b'])
  t.equal(upstreamModels([], JSON.parse('{"__proto__":"x"}'))('__proto__'), 'x', 'whatever a model is called')
  t.same(exactNames({ a: 'x', 'b-*': 'y', c: 'c' }), ['a', 'c'])
})

t.test('changes of a map', async (t) => {
  const changed = (...texts: string[]) => changedModelMap({ a: 'x', 'b-*': 'y' }, texts.map(parseModelMapChange))
  t.same(changed('c=z'), { a: 'x', 'b-*': 'y', c: 'z' })
  t.same(changed(' a = z '), { a: 'z', 'b-*': 'y' })
  t.same(changed('b-*=none', 'nobody=none'), { a: 'x' })
  t.same(changed('none'), {})
  t.same(changed('c=z', 'none', 'd=w'), { d: 'w' }, 'one after the other')
  t.same(Object.keys(changedModelMap({}, [parseModelMapChange('__proto__=x')])), ['__proto__'])
})

t.test('what cannot be meant is refused', async (t) => {
  const invalid = { code: 'invalid_request' }
  for (const text of ['', 'a', 'a=', '=b', 'a=b=c', 'a=b*', 'a b=c', 'a=b c', `a=${'x'.repeat(257)}`, 'a=\u0000']) {
    t.throws(() => parseModelMapChange(text), invalid, JSON.stringify(text))
  }
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`m${index}`, 'x']))
  t.throws(() => checkedModelMap(many), invalid)
  t.throws(() => checkedModelMap({ '': 'x' }), invalid)
  t.throws(() => checkedModelMap({ a: '' }), invalid)
  t.same(checkedModelMap({ '*': 'x' }), { '*': 'x' })
})

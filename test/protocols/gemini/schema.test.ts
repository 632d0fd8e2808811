import fc from 'fast-check'
import t from 'tap'
import { googleSchemaOf, jsonSchemaOf } from '../../../src/protocols/gemini/schema.ts'

t.test('Google’s dialect becomes JSON Schema, at schemas’ places only', async (t) => {
  const properties = {
    type: { type: 'STRING', enum: ['OBJECT'] },
    nullable: { type: 'INTEGER', nullable: true, minimum: 1 },
    propertyOrdering: { type: 'ARRAY', items: { type: 'NUMBER' }, minItems: '2', max_items: '3' },
    any: { anyOf: [{ type: 'STRING' }, { type: 'BOOLEAN' }] },
    example: { type: 'TYPE_UNSPECIFIED', example: 7 },
  }
  t.same(jsonSchemaOf({ type: 'OBJECT', properties, required: ['type'], propertyOrdering: ['type'] }), {
    type: 'object',
    properties: {
      type: { type: 'string', enum: ['OBJECT'] },
      nullable: { type: ['integer', 'null'], minimum: 1 },
      propertyOrdering: { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 3 },
      any: { anyOf: [{ type: 'string' }, { type: 'boolean' }] },
      example: { examples: [7] },
    },
    required: ['type'],
  })
})

t.test('JSON Schema stays what it is', async (t) => {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: { a: { type: ['string', 'null'] }, b: { $ref: '#/$defs/x' } },
    $defs: { x: { const: 1 } },
    additionalProperties: false,
  }
  t.same(jsonSchemaOf(schema), schema)
})

t.test('JSON Schema becomes the nearest that Google’s dialect has', async (t) => {
  const inner = (schema: object) =>
    (googleSchemaOf({ type: 'object', properties: { p: schema }, $defs: DEFS }).properties as { p: object }).p
  const DEFS = {
    name: { type: 'string', minLength: 1 },
    tree: { type: 'object', properties: { left: { $ref: '#/$defs/tree' } } },
  }
  t.same(inner({ $ref: '#/$defs/name', description: 'd' }), { type: 'STRING', description: 'd', minLength: 1 })
  t.same(inner({ type: ['integer', 'null'], exclusiveMinimum: 0, $comment: 'x', deprecated: true }), {
    type: 'INTEGER',
    nullable: true,
  })
  t.same(inner({ anyOf: [{ type: 'string' }, { type: 'null' }] }), { type: 'STRING', nullable: true })
  t.same(inner({ anyOf: [{ const: 'a' }, { enum: ['b', 'c'] }] }), { type: 'STRING', enum: ['a', 'b', 'c'] })
  t.same(inner({ oneOf: [{ type: 'string' }, { type: 'object', properties: { a: {} } }] }), {
    type: 'OBJECT',
    properties: { a: { type: 'STRING' } },
  })
  t.same(
    inner({
      allOf: [
        { properties: { a: { type: 'string' } }, required: ['a'] },
        { properties: { b: { type: 'number' } }, required: ['b'] },
      ],
    }),
    { type: 'OBJECT', properties: { a: { type: 'STRING' }, b: { type: 'NUMBER' } }, required: ['a', 'b'] },
  )
  t.same(inner({ const: 'x' }), { type: 'STRING', enum: ['x'] })
  t.same(inner({ type: 'integer', enum: [1, 2], description: 'How many.' }), {
    type: 'INTEGER',
    description: 'How many.\nOne of: 1, 2',
  })
  t.same(inner({ type: 'array' }), { type: 'ARRAY', items: { type: 'STRING' } })
  t.same(inner({ type: 'string', format: 'uri', pattern: '^h' }), { type: 'STRING', pattern: '^h' })
  t.same(inner({ type: 'object', additionalProperties: false, required: ['gone'], properties: {} }), {
    type: 'OBJECT',
    properties: {},
  })
  t.same(inner({ type: 'object', properties: { title: { type: 'string' }, format: { type: 'string' } } }), {
    type: 'OBJECT',
    properties: { title: { type: 'STRING' }, format: { type: 'STRING' } },
  })
  t.match(inner({ $ref: '#/$defs/tree' }), { type: 'OBJECT', properties: { left: { type: 'OBJECT' } } }, 'it ends')
})

t.test('a schema that would become too large ends somewhere', async (t) => {
  const properties = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, { $ref: '#' }]))
  t.ok(JSON.stringify(googleSchemaOf({ type: 'object', properties })).length < 200_000)
})

t.test('no schema makes either throw', async () => {
  const key = fc.constantFrom(
    'type',
    'properties',
    'items',
    'anyOf',
    'allOf',
    '$ref',
    '$defs',
    'enum',
    'const',
    'required',
  )
  const { schema } = fc.letrec((tie) => {
    const value = fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('#', '#/properties', 'object', 'array'),
      fc.jsonValue({ maxDepth: 1 }),
      tie('schema'),
      fc.array(tie('schema'), { maxLength: 3 }),
    )
    return { schema: fc.dictionary(key, value, { maxKeys: 4 }) }
  })
  fc.assert(
    fc.property(schema, (value) => {
      jsonSchemaOf(value as object as Record<string, unknown>)
      return typeof googleSchemaOf(value as object as Record<string, unknown>).type === 'string'
    }),
    { numRuns: 2000 },
  )
})

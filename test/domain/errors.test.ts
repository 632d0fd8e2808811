import t from 'tap'
import { GatewayError, isGatewayError } from '../../src/domain/errors.ts'

t.test('an error of ours is told from a bug, and by its code', async (t) => {
  const error = new GatewayError('limited', 'too many', { retryAfterMs: 5 })
  t.ok(isGatewayError(error))
  t.ok(isGatewayError(error, 'limited'))
  t.notOk(isGatewayError(error, 'internal'))
  t.notOk(isGatewayError(new Error('limited')))
  t.notOk(isGatewayError({ code: 'limited' }))
  t.notOk(isGatewayError(null))
  t.match(error, { name: 'GatewayError', message: 'too many', facts: { retryAfterMs: 5 } })
})

import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { ClientAnswer } from './client-answer.ts'
import { countRefusal } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identify.ts'

/** What its format knows and this gateway does not do. Strangers are not told. */
export async function notSupported(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
  what: string,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const client = new ClientAnswer(gateway, protocol, res, { callId: newCallId(arrivedMs), arrivedMs })
  try {
    await identify(gateway, req)
    throw new GatewayError('not_supported', `this gateway does not do ${what}`, { shouldRetry: false })
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { formatWindow } from '../domain/limit.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol } from '../protocols/protocol.ts'
import type { ReportRow } from '../store/store.ts'
import { requireRate } from './allowance.ts'
import { ClientAnswer } from './client-answer.ts'
import { countRefusal } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identify.ts'
import { standingsOf } from './limits.ts'

/** Of one key: each read adds up all that it has ever used, and everybody's calls wait for that. */
const READS_PER_MINUTE = 20

/** GET /v1/usage: a caller's own standing. Amounts in nano-USD, those of usd limits too. */
export async function ownUsage(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const client = new ClientAnswer(gateway, protocol, res, { callId: newCallId(arrivedMs), arrivedMs })
  try {
    const { caller } = await identify(gateway, req)
    const { key, user } = caller
    gateway.counters.add('usage')
    await requireRate(gateway, caller, 'read its usage', READS_PER_MINUTE)
    const isBilled = gateway.config.runMode === 'saas'
    const today = new Date(arrivedMs).setHours(0, 0, 0, 0)
    const [ofToday] = await gateway.store.usage.report({ filter: { keyId: key.id, fromMs: today }, by: 'key' })
    const [inTotal] = await gateway.store.usage.report({ filter: { keyId: key.id }, by: 'key' })
    const limits = (await Promise.all(caller.limits.map((limited) => standingsOf(gateway, limited)))).flat()
    const body = {
      user: {
        email: user.email,
        ...(isBilled && { balanceNanoUsd: (await gateway.store.users.find(user.id)).balanceNanoUsd }),
      },
      key: {
        id: key.id,
        name: key.name,
        last4: key.last4,
        expiresAt: key.expiresAtMs && new Date(key.expiresAtMs).toISOString(),
        quotaNanoUsd: key.quotaNanoUsd,
        spentNanoUsd: (isBilled ? inTotal?.chargedNanoUsd : inTotal?.costNanoUsd) ?? 0,
      },
      limits: limits.map(({ subject, limit, used, resetAtMs }) => ({
        subject,
        metric: limit.metric,
        window: formatWindow(limit.window),
        limit: limit.max,
        used,
        resetAt: resetAtMs && new Date(resetAtMs).toISOString(),
      })),
      today: totals(ofToday),
      total: totals(inTotal),
    }
    client.end(Buffer.from(JSON.stringify(body)), { status: 200, headers: ['content-type', 'application/json'] })
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

function totals(row: ReportRow | undefined) {
  if (!row) return { requests: 0, costNanoUsd: 0, chargedNanoUsd: 0 }
  const { requests, usage, costNanoUsd, chargedNanoUsd } = row
  return { requests, ...usage, costNanoUsd, chargedNanoUsd }
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../domain/errors.ts'
import { newCallId } from '../lib/id.ts'
import type { Protocol, ServedModel } from '../protocols/protocol.ts'
import { collectBody, isFailure } from '../upstream/client.ts'
import { ClientAnswer } from './client-answer.ts'
import { type Caller, isUsable, type ServingAccount } from './directory.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identify.ts'

/** How long a vendor's list is good; an older one is used while a new one cannot be had. */
const FRESH_MS = 3_600_000
/** Claude Code waits 3 s for a model list (protocols.md 1). */
const FETCH_TIMEOUT_MS = 2500
const LIST_BYTES_MAX = 4 * 1024 * 1024

/** Vendors' own lists, per account. */
export class ModelLists {
  readonly #lists = new Map<string, { models: ServedModel[]; atMs: number }>()
  readonly #fetching = new Map<string, Promise<ServedModel[] | null>>()

  /** What the vendor lists for this account; null if it never said. */
  async of(gateway: Gateway, serving: ServingAccount): Promise<ServedModel[] | null> {
    const { id } = serving.account
    const known = this.#lists.get(id)
    if (known && gateway.clock() - known.atMs < FRESH_MS) return known.models
    let fetching = this.#fetching.get(id)
    if (!fetching) {
      fetching = fetchModels(gateway, serving).finally(() => this.#fetching.delete(id))
      this.#fetching.set(id, fetching)
    }
    const models = await fetching
    if (models) this.#lists.set(id, { models, atMs: gateway.clock() })
    return models ?? known?.models ?? null
  }
}

async function fetchModels(
  gateway: Gateway,
  { provider, account, credentials }: ServingAccount,
): Promise<ServedModel[] | null> {
  try {
    const forwarded = { headers: {}, query: '?limit=1000' }
    const exchange = gateway.upstream.send(provider.request('models', forwarded, account, credentials(), null))
    const deadlineMs = gateway.clock() + FETCH_TIMEOUT_MS
    const unwatch = gateway.ticker.watch((now) => {
      if (now >= deadlineMs) exchange.cancel('timed_out')
    })
    const head = await exchange.head
    const answer = isFailure(head) ? null : await collectBody(exchange, LIST_BYTES_MAX)
    unwatch()
    if (isFailure(head) || head.status !== 200 || !answer || answer.failure) return null
    return provider.readModels(answer.body)
  } catch (error) {
    gateway.log.debug({ accountId: account.id, reason: (error as Error).message }, 'no model list')
    return null
  }
}

/** The models that the caller can be served, in the asker's shape; one of them if `id` is given. */
export async function listModels(
  gateway: Gateway,
  protocol: Protocol,
  req: IncomingMessage,
  res: ServerResponse,
  id: string | null,
): Promise<void> {
  const nowMs = gateway.clock()
  const client = new ClientAnswer({ res, protocol, callId: newCallId(nowMs), log: gateway.log, nowMs })
  try {
    const { caller } = await identify(gateway, req)
    gateway.counters.add('models')
    const models = await servedModels(gateway, protocol, caller)
    const one = models.find((model) => model.id === id)
    if (id !== null && !one)
      throw new GatewayError('not_found', `no account serves the model '${id}'`, { shouldRetry: false })
    const { search } = new URL(req.url ?? '/', 'http://gateway')
    const body = one ? protocol.renderModel(one) : protocol.renderModels(models, search)
    client.end(body, { status: 200, headers: ['content-type', 'application/json'] })
  } catch (error) {
    client.sendError(error)
  }
}

/** The vendors' own lists, by the accounts' patterns and the key's; where a vendor says nothing, the models with a price. */
async function servedModels(gateway: Gateway, protocol: Protocol, caller: Caller): Promise<ServedModel[]> {
  const nowMs = gateway.clock()
  const accounts = gateway.directory
    .accountsOf(caller.group.id)
    .filter(({ account, provider }) => isUsable(account, nowMs) && provider.speaks(account).includes(protocol.name))
  const served = new Map<string, ServedModel>()
  for (const [index, models] of (
    await Promise.all(accounts.map((serving) => gateway.models.of(gateway, serving)))
  ).entries()) {
    const { provider, serves } = accounts[index] as ServingAccount
    for (const model of models ?? pricedModels(gateway, provider.name)) {
      if (serves(model.id) && caller.mayAsk(model.id) && !served.has(model.id)) served.set(model.id, model)
    }
  }
  return [...served.values()]
}

function pricedModels(gateway: Gateway, provider: string): ServedModel[] {
  return gateway.prices
    .rows()
    .filter((row) => row.provider === provider)
    .map((row) => ({ id: row.model, displayName: null, createdAt: null }))
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ProviderName } from '../domain/account.ts'
import { GatewayError } from '../domain/errors.ts'
import { exactNames } from '../domain/model-map.ts'
import { newCallId } from '../lib/id.ts'
import { isFrom } from '../protocols/clients.ts'
import type { Headers, Protocol, ServedModel } from '../protocols/protocol.ts'
import { collectBody, isFailure } from '../upstream/client.ts'
import { requireQuota, requireRate } from './allowance.ts'
import { isOnPath } from './candidacy.ts'
import { ClientAnswer } from './client-answer.ts'
import { type Caller, isUsable, type ServingAccount } from './directory.ts'
import { countRefusal } from './ends.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identify.ts'
import { mayBeSent } from './upstream-model.ts'

/** How long a vendor's list is good; an older one is used while a new one cannot be had. */
const FRESH_MS = 3_600_000
/** Claude Code waits 3 s for a model list. */
const FETCH_TIMEOUT_MS = 2500
const LIST_BYTES_MAX = 4 * 1024 * 1024
/** Of all accounts: those of a large group are asked by turns, or their vendor would see a burst. */
const FETCHES_MAX = 8
/** Of one key: clients ask at their start. */
const LISTS_PER_MINUTE = 300

/** After a list could not be had, nobody waits for it again for so long. */
const RETRY_MS = 60_000

interface KnownList {
  /** Null: the vendor never said. */
  models: ServedModel[] | null
  /** Unix ms. */
  freshUntilMs: number
}

/** Vendors' own lists, per account. */
export class ModelLists {
  readonly #lists = new Map<string, KnownList>()
  readonly #fetching = new Map<string, Promise<KnownList>>()
  #fetches = 0
  /** Let the next one begin. */
  readonly #turns: (() => void)[] = []

  /** What the vendor lists for this account; null if it never said. */
  async of(gateway: Gateway, serving: ServingAccount): Promise<ServedModel[] | null> {
    const { id } = serving.account
    const known = this.#lists.get(id)
    if (known && gateway.clock() < known.freshUntilMs) return known.models
    let fetching = this.#fetching.get(id)
    if (!fetching) {
      fetching = this.#refresh(gateway, serving).finally(() => this.#fetching.delete(id))
      this.#fetching.set(id, fetching)
    }
    return (await fetching).models
  }

  async #refresh(gateway: Gateway, serving: ServingAccount): Promise<KnownList> {
    const { id } = serving.account
    const deadlineMs = gateway.clock() + FETCH_TIMEOUT_MS
    const models = await this.#inTurn(() => fetchModels(gateway, serving, deadlineMs))
    const list = models
      ? { models, freshUntilMs: gateway.clock() + FRESH_MS }
      : { models: this.#lists.get(id)?.models ?? null, freshUntilMs: gateway.clock() + RETRY_MS }
    this.#lists.set(id, list)
    return list
  }

  async #inTurn<T>(fetch: () => Promise<T>): Promise<T> {
    if (this.#fetches < FETCHES_MAX) this.#fetches++
    else await new Promise<void>((resolve) => this.#turns.push(resolve))
    try {
      return await fetch()
    } finally {
      const next = this.#turns.shift() // it takes this one's place
      if (next) next()
      else this.#fetches--
    }
  }
}

/** Null if there is none to be had in time. */
async function fetchModels(
  gateway: Gateway,
  serving: ServingAccount,
  deadlineMs: number,
): Promise<ServedModel[] | null> {
  const { provider, account, credentials } = serving
  if (gateway.clock() >= deadlineMs) return null // its turn came too late
  try {
    const forwarded = { headers: {}, query: '?limit=1000' }
    const request = provider.request('models', forwarded, account, credentials(), null)
    const exchange = gateway.upstream.send(request, account.deadlines.connectMs)
    const unwatch = gateway.ticker.watch((now) => {
      if (now >= deadlineMs) exchange.cancel('timed_out')
    })
    try {
      const head = await exchange.head
      if (isFailure(head) || head.status !== 200) return null
      const { body, failure } = await collectBody(exchange, LIST_BYTES_MAX)
      if (failure) return null
      const models = provider.readModels(body)
      gateway.windows.told(serving, provider.readListedWindows?.(body, gateway.clock()) ?? [])
      return models
    } finally {
      unwatch()
      exchange.cancel('over')
    }
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
  onlyProvider: ProviderName | null = null,
): Promise<void> {
  const arrivedMs = gateway.clock()
  const client = new ClientAnswer(gateway, protocol, res, { callId: newCallId(arrivedMs), arrivedMs })
  try {
    const { caller } = await identify(gateway, req)
    gateway.counters.add('models')
    await requireRate(gateway, caller, 'list models', LISTS_PER_MINUTE)
    await requireQuota(gateway, caller)
    const models = await servedModels(gateway, onlyProvider, caller, req.headers)
    const one = models.find((model) => model.id === id)
    if (id !== null && !one)
      throw new GatewayError('not_found', `no account serves the model '${id}'`, { shouldRetry: false })
    const { search } = new URL(req.url ?? '/', 'http://gateway')
    const body = one ? protocol.renderModel(one) : protocol.renderModels(models, search)
    client.end(body, { status: 200, headers: ['content-type', 'application/json'] })
  } catch (error) {
    countRefusal(gateway, error, client)
    client.sendError(error)
  }
}

/**
 * The vendors' own lists (where a vendor says nothing, the models with a price) and the names in the accounts' maps, by the
 * accounts' patterns and the key's.
 */
async function servedModels(
  gateway: Gateway,
  onlyProvider: ProviderName | null,
  caller: Caller,
  headers: Headers,
): Promise<ServedModel[]> {
  const nowMs = gateway.clock()
  const accounts = gateway.directory.accountsOf(caller.group.id).filter((serving) => {
    const { account } = serving
    const isForClient = !account.onlyClient || isFrom(account.onlyClient, headers)
    return isForClient && isUsable(account, nowMs) && isOnPath(serving, onlyProvider)
  })
  const served = new Map<string, ServedModel>()
  for (const [index, models] of (
    await Promise.all(accounts.map((serving) => gateway.models.of(gateway, serving)))
  ).entries()) {
    const serving = accounts[index] as ServingAccount
    const mapped = exactNames(serving.account.modelMap).map(modelNamed)
    for (const model of [...(models ?? pricedModels(gateway, serving.provider.name)), ...mapped]) {
      const sent = caller.mayAsk(model.id) ? serving.upstreamModelOf(model.id) : null
      if (sent !== null && mayBeSent(gateway, serving, sent) && !served.has(model.id)) served.set(model.id, model)
    }
  }
  return [...served.values()]
}

function pricedModels(gateway: Gateway, provider: string): ServedModel[] {
  return gateway.prices
    .rows()
    .filter((row) => row.provider === provider)
    .map((row) => modelNamed(row.model))
}

function modelNamed(id: string): ServedModel {
  return { id, displayName: null, createdAt: null }
}

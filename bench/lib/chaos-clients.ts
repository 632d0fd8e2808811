import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, ClientCall, messageRequest } from '../../test/support/client.ts'
import { type Answered, readAnswer } from './chaos-answers.ts'
import { type ClientPlan, clientPlan } from './chaos-plan.ts'

/** After a refusal, or no answer at all, in ms: a client that asks again at once only heats the machine. */
const BREATH_MS = 100

/** Where clients ask, from one start of the gateway to its end. */
export interface Life {
  url: string
  /** Unix ms; null while it has not been told to stop, or was not killed. */
  stoppedMs: number | null
  killedMs: number | null
}

/** Clients that ask again and again as the seed says, leave, stop reading, and remember what they got. */
export class ChaosClients {
  readonly answered: Answered[] = []
  /** Those that heard of their end, by call id. */
  readonly ended = new Map<string, Answered>()
  readonly #seed: number
  readonly #lives: Life[]
  readonly #open = new Set<ClientCall>()
  #stopped = false
  readonly #clients: Promise<void>[]

  /** `keys` has the two keys of each user; clients are spread over the users. The last of `lives` is the present one. */
  constructor(seed: number, lives: Life[], keys: readonly (readonly [string, string])[], clients: number) {
    this.#seed = seed
    this.#lives = lives
    this.#clients = Array.from({ length: clients }, (_, index) =>
      this.#client(index, keys[index % keys.length] as [string, string]),
    )
  }

  get open(): number {
    return this.#open.size
  }

  /** Lets what is asked end, and asks no more. Returns how many have no end after so long; those then leave. */
  async stop(patienceMs: number): Promise<number> {
    this.#stopped = true
    const all = Promise.all(this.#clients)
    await Promise.race([all, sleep(patienceMs, undefined, { ref: false })])
    const hanging = this.#open.size
    for (const call of this.#open) call.leave()
    await all
    return hanging
  }

  async #client(index: number, keys: readonly [string, string]): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let number = 0; !this.#stopped; number++) {
      const name = `chaos-${index}-${number}`
      const plan = clientPlan(this.#seed, name)
      const answer = await this.#ask(name, plan, `${index}.${plan.conversation}`, keys[plan.key] as string, agent)
      this.answered.push(answer)
      if (answer.callId !== null && answer.end !== null) this.ended.set(answer.callId, answer)
      if (answer.status !== 200) await sleep(BREATH_MS)
    }
    agent.destroy()
  }

  async #ask(name: string, plan: ClientPlan, conversation: string, key: string, agent: Agent): Promise<Answered> {
    const life = this.#lives.length - 1
    const { url } = this.#lives[life] as Life
    const body = JSON.stringify(messageRequest(plan.streams, { system: `conversation ${conversation}` }))
    const isMessage = plan.asks === 'message'
    const leavesAsking = plan.leaves?.how === 'asking'
    const startedMs = Date.now()
    const call = new ClientCall(url, {
      ...{ key, agent, path: isMessage ? '/v1/messages' : '/v1/messages/count_tokens' },
      headers: { 'user-agent': name, ...(leavesAsking && { 'content-length': String(body.length) }) },
      ...(!leavesAsking && { body }),
    })
    this.#open.add(call)
    if (leavesAsking) call.request.write(body.slice(0, body.length / 2))
    let left = false
    const leave = () => {
      left = true
      call.leave()
    }
    const timers = behave(call, plan, leave)
    const answer: Answer = await call.over
    for (const timer of timers) clearTimeout(timer)
    this.#open.delete(call)
    return {
      ...{ name, life, startedMs, endedMs: Date.now(), left },
      ...{ asks: plan.asks, streams: plan.streams, stoppedReading: plan.stopsReadingMs !== null },
      ...readAnswer(name, left ? { ...answer, ended: 'cut' } : answer), // Node calls whole what was destroyed unread
    }
  }
}

/** Makes the client leave and stop reading as planned. Returns the timers to clear when the call is over. */
function behave(call: ClientCall, { leaves, stopsReadingMs }: ClientPlan, leave: () => void): NodeJS.Timeout[] {
  const timers: NodeJS.Timeout[] = []
  if (stopsReadingMs !== null) {
    call.stopReading()
    timers.push(setTimeout(() => call.readOn(), stopsReadingMs))
  }
  if (leaves?.how === 'asking') timers.push(setTimeout(leave, 50))
  if (leaves?.how === 'after ms') timers.push(setTimeout(leave, leaves.after))
  if (leaves?.how === 'after bytes') {
    const { after } = leaves
    call.request.on('response', (answer) =>
      answer.on('data', () => {
        if (call.bytes >= after) leave()
      }),
    )
  }
  return timers
}

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { systemClock, systemTimer } from '../../src/lib/clock.ts'
import type { Admission, AdmitRequest, Refused, Settlement, Ticket } from '../../src/live/live-state.ts'
import { RedisLiveState } from '../../src/live/redis.ts'
import { RedisConnection } from '../../src/live/redis-connection.ts'

/** A gateway process as live state sees it: a process of the system, with its own connections to a Redis. */
export class LiveProcess implements AsyncDisposable {
  readonly #child: ReturnType<typeof fork>
  #asked = 0

  private constructor(child: ReturnType<typeof fork>) {
    this.#child = child
  }

  static async start(url: string, processId: string): Promise<LiveProcess> {
    const child = fork(import.meta.filename, [url, processId], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    await once(child, 'message')
    return new LiveProcess(child)
  }

  /** Asks for a call; resolves when it is in line already. */
  admit(request: AdmitRequest): Promise<Admission | Ticket | Refused> {
    return this.#ask({ admit: request }) as Promise<Admission | Ticket | Refused>
  }

  /** How the wait of a call has ended that was in line. */
  outcome(callId: string): Promise<Admission | Refused> {
    return this.#ask({ outcome: callId }) as Promise<Admission | Refused>
  }

  settle(admission: Admission, end: Settlement): Promise<void> {
    return this.#ask({ settle: admission, end }) as Promise<void>
  }

  /** Kills it: nothing of what it does at its end is done. */
  async kill(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  /** It does nothing until `goOn`. */
  stop(): void {
    this.#child.kill('SIGSTOP')
  }

  goOn(): void {
    this.#child.kill('SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill()
  }

  #ask(question: object): Promise<unknown> {
    const number = ++this.#asked
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const hear = (message: { number: number; answer?: unknown; error?: string }) => {
      if (message.number !== number) return
      this.#child.off('message', hear)
      if (message.error === undefined) resolve(message.answer)
      else reject(new Error(message.error))
    }
    this.#child.on('message', hear)
    this.#child.send({ number, ...question })
    return promise
  }
}

interface Question {
  number: number
  admit?: AdmitRequest
  outcome?: string
  settle?: Admission
  end?: Settlement
}

/** The process itself. */
async function serve(url: string, processId: string): Promise<void> {
  const connection = await RedisConnection.open({ url })
  const live = await RedisLiveState.join(connection, { processId, clock: systemClock, setTimer: systemTimer })
  live.startBeating()
  const waits = new Map<string, Promise<Admission | Refused>>()
  const answer = async ({ admit, outcome, settle, end }: Question): Promise<unknown> => {
    if (outcome !== undefined) return waits.get(outcome)
    if (settle && end) return live.settle(settle, end)
    const answer = await live.admit(admit as AdmitRequest)
    if (answer.kind === 'ticket') {
      const wait = live.await(answer, new AbortController().signal)
      wait.catch(() => {}) // whoever asks for it hears the error
      waits.set(answer.callId, wait)
    }
    return answer
  }
  process.on('message', (question: Question) => {
    const { number } = question
    answer(question).then(
      (answer) => process.send?.({ number, answer: answer ?? null }),
      (error: Error) => process.send?.({ number, error: error.message }),
    )
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.('ready')
}

const [, file, url, processId] = process.argv
if (file === import.meta.filename && url && processId) await serve(url, processId)

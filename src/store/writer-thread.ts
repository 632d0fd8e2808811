import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type GatewayError, isGatewayError } from '../domain/errors.ts'
import type { Db } from './queries/db.ts'
import type { RecordEntry } from './queries/record.ts'
import { connectSqlite } from './sqlite-connection.ts'
import { CLOSE, type WriterReply, type WriterRequest } from './writer.ts'
import { transactions, type WriteInput, type WriteName } from './writes.ts'

// The daemon's only writer: gets named operations as JSON, runs one transaction at a time, and answers. Records that
// have come while one commits share the next transaction, whatever batches they came in.
const { file, nativeBinding } = workerData as { file: string; nativeBinding: string | undefined }
const port = parentPort as NonNullable<typeof parentPort>
let database: Db | null = null
let write: ReturnType<typeof transactions>
let turn: Promise<void> = Promise.resolve()

type Message = WriterRequest | typeof CLOSE

port.on('message', (first: Message) => {
  const inbox = [first, ...drained()]
  turn = turn.then(() => work(inbox))
})

/** What else lies in the mailbox; the event loop would deliver it only after this turn's work. */
function drained(): Message[] {
  const messages: Message[] = []
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port))
    messages.push(next.message as Message)
  return messages
}

async function work(inbox: Message[]): Promise<void> {
  const requests = inbox.filter((message) => message !== CLOSE)
  const records = requests.filter(({ name }) => name === 'usage.record')
  const together = records.length > 1 ? await recordTogether(records) : null
  for (const request of requests) {
    const shared = request.name === 'usage.record' ? together : null
    port.postMessage(shared ? { ...shared, id: request.id } : await answer(request))
  }
  if (!inbox.includes(CLOSE)) return
  await database?.destroy()
  port.close()
}

/** Several batches of records in one transaction. Returns the answer to all of them; null if each has to be tried by itself. */
async function recordTogether(requests: WriterRequest[]): Promise<Omit<WriterReply, 'id'> | null> {
  try {
    const batch = requests.flatMap(({ input }) => JSON.parse(input) as RecordEntry[])
    await run('usage.record', batch, requests[0]?.atMs ?? 0)
    return {}
  } catch (error) {
    return isGatewayError(error, 'unavailable') ? refusalOf(error) : null
  }
}

async function answer({ id, name, input, atMs }: WriterRequest): Promise<WriterReply> {
  try {
    const output = await run(name, JSON.parse(input) as WriteInput<WriteName>, atMs)
    return { id, output: JSON.stringify(output) }
  } catch (error) {
    if (isGatewayError(error)) return { id, ...refusalOf(error) }
    return { id, failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

function refusalOf({ code, message, facts }: GatewayError): Pick<WriterReply, 'refused'> {
  return { refused: { code, message, facts } }
}

function run<Name extends WriteName>(name: Name, input: WriteInput<Name>, atMs: number) {
  if (!database) {
    database = connectSqlite(file, 'write', nativeBinding)
    write = transactions(database)
  }
  return write(name, input, atMs)
}

import { parentPort, workerData } from 'node:worker_threads'
import { isGatewayError } from '../domain/errors.ts'
import { connectSqlite } from './sqlite-connection.ts'
import { CLOSE, type WriterReply, type WriterRequest } from './writer.ts'
import { runWrite, type WriteInput, type WriteName, writeOperations } from './writes.ts'

// The daemon's only writer: gets named operations as JSON, runs one transaction at a time, and answers.
const { file, nativeBinding } = workerData as { file: string; nativeBinding: string | undefined }
const port = parentPort as NonNullable<typeof parentPort>
const operations = writeOperations()
let database: ReturnType<typeof connectSqlite> | null = null
let turn: Promise<void> = Promise.resolve()

port.on('message', (request: WriterRequest | typeof CLOSE) => {
  turn = turn.then(async () => {
    if (request !== CLOSE) return port.postMessage(await answer(request))
    await database?.destroy()
    port.close()
  })
})

async function answer({ id, name, input, atMs }: WriterRequest): Promise<WriterReply> {
  try {
    database ??= connectSqlite(file, 'write', nativeBinding)
    const output = await database
      .transaction()
      .execute((trx) => runWrite(operations, trx, name, JSON.parse(input) as WriteInput<WriteName>, atMs))
    return { id, output: JSON.stringify(output) }
  } catch (error) {
    if (isGatewayError(error)) return { id, refused: { code: error.code, message: error.message, facts: error.facts } }
    return { id, failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

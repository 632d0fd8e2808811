import { readFileSync } from 'node:fs'
import { getAsset, isSea } from 'node:sea'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/** True inside the single binary. */
export const inBinary = isSea()

/** A text file that travels with the program. `path` is relative to the project's root. */
export function readAsset(path: string): string {
  return inBinary ? getAsset(path, 'utf8') : readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}

/** Starts a worker thread from one of our own modules (`src/…ts`); the binary carries it bundled under the same name. */
export function startWorker(path: string, options: WorkerOptions): Worker {
  return inBinary
    ? new Worker(getAsset(path, 'utf8'), { ...options, eval: true })
    : new Worker(new URL(`../../${path}`, import.meta.url), options)
}

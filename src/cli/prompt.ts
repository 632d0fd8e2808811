import { createInterface } from 'node:readline'
import { GatewayError } from '../domain/errors.ts'

/** Where a person answers. */
export interface Terminal {
  stdin: NodeJS.ReadableStream & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown }
  stderr: NodeJS.WritableStream & { isTTY?: boolean }
}

/** True if a person can be asked. */
export function canAsk({ stdin, stderr }: Terminal): boolean {
  return stdin.isTTY === true && stderr.isTTY === true
}

/** Asks for a yes; anything but `y` or `yes` is a no. */
export async function confirm(terminal: Terminal, question: string): Promise<boolean> {
  const lines = createInterface({ input: terminal.stdin, output: terminal.stderr })
  try {
    return /^y(es)?$/i.test((await answerTo(lines, `${question} [y/N] `)).trim())
  } finally {
    lines.close()
  }
}

function answerTo(lines: ReturnType<typeof createInterface>, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    lines.once('close', () => reject(cancelled()))
    lines.question(question, resolve)
  })
}

const CONTROL_C = '\u0003'
const CONTROL_D = '\u0004'
const BACKSPACES = ['\u007f', '\b']

/** Asks for a secret, which is not shown. Throws `conflict` if the person gives up. */
export function askSecret(terminal: Terminal, question: string): Promise<string> {
  const { stdin, stderr } = terminal
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  stderr.write(`${question}: `)
  let typed = ''
  const read = (chunk: Buffer | string) => {
    for (const character of chunk.toString()) {
      if (character === '\r' || character === '\n') return done(() => resolve(typed))
      if (character === CONTROL_C || character === CONTROL_D) return done(() => reject(cancelled()))
      typed = BACKSPACES.includes(character) ? typed.slice(0, -1) : typed + character
    }
  }
  const done = (settle: () => void) => {
    stdin.off('data', read)
    stdin.setRawMode?.(false)
    stdin.pause()
    stderr.write('\n')
    settle()
  }
  stdin.setRawMode?.(true)
  stdin.on('data', read)
  stdin.resume()
  return promise
}

function cancelled(): GatewayError {
  return new GatewayError('conflict', 'given up')
}

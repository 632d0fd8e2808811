import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type LoadedConfig, type LoadInputs, loadConfig } from '../../src/config/load.ts'
import { isGatewayError } from '../../src/domain/errors.ts'

/** Loads a configuration in a folder that knows nothing of this machine. */
export function load(home: string, inputs: Partial<LoadInputs> = {}): LoadedConfig {
  return loadConfig(inputsIn(home, inputs))
}

export function inputsIn(home: string, { env, ...inputs }: Partial<LoadInputs> = {}): LoadInputs {
  return { cwd: home, terminal: false, ...inputs, env: { HOME: home, ...env } }
}

/** The problems that a configuration has, one a line, without the folder's name. */
export function problems(home: string, inputs: Partial<LoadInputs> = {}): string[] {
  try {
    load(home, inputs)
    return []
  } catch (error) {
    if (!isGatewayError(error, 'invalid_request')) throw error
    const [, ...lines] = error.message.split('\n')
    return lines.map((line) => line.trim().replaceAll(`${home}/`, ''))
  }
}

export function write(home: string, name: string, text: string): string {
  const file = join(home, name)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

import { randomBytes } from 'node:crypto'
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where the run collects what its programs print; undefined when a test file is run by itself. */
const outputFolder = process.env.SUBGATE_TEST_OUTPUT
const SECRETS_FILE = 'secrets.list'

/** Remembers a secret of a test, so that the end of the run can prove that it is in no output. Returns it. */
export function keepSecret(secret: string): string {
  if (outputFolder) appendFileSync(join(outputFolder, SECRETS_FILE), `${secret}\n`)
  return secret
}

/** A new upstream credential that nothing may print. */
export function secretKey(prefix = 'sk-ant-api03-'): string {
  return keepSecret(prefix + randomBytes(24).toString('base64url'))
}

/** Adds what a program under test has printed to what is searched. */
export function collectOutput(name: string, text: string | Buffer, folder = outputFolder): void {
  if (folder) appendFileSync(join(folder, `${name}.out`), text)
}

/** Which outputs of a run hold one of its secrets. */
export function leakedSecrets(folder: string): string[] {
  const files = readdirSync(folder)
  if (!files.includes(SECRETS_FILE)) return []
  const secrets = readFileSync(join(folder, SECRETS_FILE), 'utf8').split('\n').filter(Boolean)
  return files
    .filter((file) => file !== SECRETS_FILE)
    .flatMap((file) => {
      const text = readFileSync(join(folder, file), 'utf8')
      const found = secrets.find((secret) => text.includes(secret))
      return found ? [`${file} (it begins with ${found.slice(0, 12)})`] : []
    })
}

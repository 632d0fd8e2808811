import type { Credentials } from '../../domain/account.ts'
import { asObject, objectOf, textOf } from '../../protocols/loose-json.ts'

/** The project that an account's calls belong to, as far as it is known. */
export function projectOf(credentials: Credentials): string | undefined {
  return credentials.kind === 'oauth' ? (credentials.accountId ?? undefined) : undefined
}

/** What `loadCodeAssist` is asked: which project the account's calls belong to. */
export function projectQuestion(ideType: string): Buffer {
  return Buffer.from(JSON.stringify({ metadata: { ideType, platform: 'PLATFORM_UNSPECIFIED', pluginType: 'GEMINI' } }))
}

/** The project of an account; null if it has none yet, and its owner has to sign in with Google's own program first. */
export function projectIn(body: Buffer): string | null {
  const project = objectOf(body.toString('utf8'))?.cloudaicompanionProject
  return textOf(project) || textOf(asObject(project)?.id) || null
}

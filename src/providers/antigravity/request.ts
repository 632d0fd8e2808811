import type { Credentials } from '../../domain/account.ts'
import { VERSION } from '../../version.ts'
import { askedOfGoogle } from '../google/asked.ts'
import { enveloped, envelopedCount } from '../google/envelope.ts'
import { googleHeaders } from '../google/headers.ts'
import { projectOf, projectQuestion } from '../google/project.ts'
import type { CalledAccount, Forwarded, Operation, UpstreamRequest } from '../provider.ts'
import { fittedToAntigravity } from './fitted.ts'

/** Who calls: not Antigravity itself, and we do not say so. */
const USER_AGENT = `subgate/${VERSION}`

export function antigravityRequest(
  operation: Operation,
  forwarded: Forwarded,
  account: CalledAccount,
  credentials: Credentials,
  body: Buffer | null,
): UpstreamRequest {
  const project = projectOf(credentials)
  const headers = googleHeaders(forwarded.headers, account, credentials, {
    'user-agent': USER_AGENT,
    'content-type': 'application/json',
  })
  const target = { method: 'POST' as const, baseUrl: account.baseUrl, headers }
  if (operation === 'models') {
    return { ...target, path: ':fetchAvailableModels', body: Buffer.from(JSON.stringify({ project })) }
  }
  if (operation === 'identity') return { ...target, path: ':loadCodeAssist', body: projectQuestion('ANTIGRAVITY') }
  const { model, method, query } = askedOfGoogle(operation, forwarded)
  const request = body ?? Buffer.from('{}')
  if (method === 'countTokens') return { ...target, path: ':countTokens', body: envelopedCount(model, request) }
  const requestId = forwarded.callId === undefined ? undefined : `agent-${forwarded.callId}`
  const envelope = { project, requestId, userAgent: USER_AGENT, requestType: 'agent', model }
  const fitted = fittedToAntigravity(request, model)
  const inner = fitted ? Buffer.from(JSON.stringify(fitted)) : request
  return { ...target, path: `:${method}${query}`, body: enveloped(envelope, inner) }
}

import type { Credentials } from '../../domain/account.ts'
import { asWritten } from '../as-written.ts'
import { withoutSecrets } from '../forwarded-query.ts'
import { askedOfGoogle } from '../google/asked.ts'
import { enveloped, envelopedCount, isCodeAssist } from '../google/envelope.ts'
import { googleHeaders } from '../google/headers.ts'
import { projectOf, projectQuestion } from '../google/project.ts'
import type { CalledAccount, Forwarded, Operation, UpstreamRequest } from '../provider.ts'

export function geminiRequest(
  operation: Operation,
  forwarded: Forwarded,
  account: CalledAccount,
  credentials: Credentials,
  body: Buffer | null,
): UpstreamRequest {
  const target = { baseUrl: account.baseUrl, headers: googleHeaders(forwarded.headers, account, credentials) }
  if (isCodeAssist(account))
    return { ...target, method: 'POST', ...inEnvelope(operation, forwarded, credentials, body) }
  if (operation === 'objects') return { ...target, ...asWritten(forwarded, body) }
  if (operation === 'models') {
    return { ...target, method: 'GET', path: `/v1beta/models${listQuery(forwarded.query)}`, body }
  }
  const { version, model, method, query } = askedOfGoogle(operation, forwarded)
  return { ...target, method: 'POST', path: `/${version}/models/${encodeURIComponent(model)}:${method}${query}`, body }
}

function inEnvelope(
  operation: Operation,
  forwarded: Forwarded,
  credentials: Credentials,
  body: Buffer | null,
): Pick<UpstreamRequest, 'path' | 'body'> {
  const project = projectOf(credentials)
  if (operation === 'models') return { path: ':retrieveUserQuota', body: Buffer.from(JSON.stringify({ project })) }
  if (operation === 'identity') return { path: ':loadCodeAssist', body: projectQuestion('IDE_UNSPECIFIED') }
  const { model, method, query } = askedOfGoogle(operation, forwarded)
  const request = body ?? Buffer.from('{}')
  return {
    path: `:${method}${query}`,
    body: method === 'countTokens' ? envelopedCount(model, request) : enveloped({ model, project }, request),
  }
}

/** Google refuses what it does not know, and calls the length of a page otherwise. */
function listQuery(query: string): string {
  return withoutSecrets(query).replace(/(?<=[?&])limit=/, 'pageSize=')
}

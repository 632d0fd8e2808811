import { type FaultSample, NOW_MS, type ProviderSamples } from '../../contract/provider.ts'

/** Answers of Google's services and of what stands in front of them, with whose fault they are. */

const REQUEST = { blame: 'request', rest: null } as const
const CREDENTIAL = { blame: 'account', rest: 'credential' } as const
const NOT_THIS = { blame: 'account', rest: null } as const
const FUNDS = { blame: 'account', rest: 'funds' } as const
const RATE_LIMIT = { blame: 'account', rest: 'rate_limit' } as const
const OVERLOAD = { blame: 'upstream', rest: 'overload' } as const

const PAGE = '<!DOCTYPE html>\n<html><head><title>Error 502 (Server Error)!!1</title></head></html>'

const type = (name: string) => `type.googleapis.com/google.rpc.${name}`
const info = (reason: string, metadata: object = {}) => ({
  '@type': type('ErrorInfo'),
  reason,
  domain: 'googleapis.com',
  metadata,
})
const retry = (retryDelay: string) => ({ '@type': type('RetryInfo'), retryDelay })
const quota = (...ids: string[]) => ({
  '@type': type('QuotaFailure'),
  violations: ids.map((quotaId) => ({
    quotaMetric: 'generativelanguage.googleapis.com/requests',
    quotaId,
    quotaValue: '250',
  })),
})

export const googleError = (code: number, status: string, message: string, ...details: object[]) => ({
  error: { code, message, status, ...(details.length > 0 && { details }) },
})

/** An answer with one of Google's own errors. */
const typed = (
  code: number,
  status: string,
  message: string,
  expected: FaultSample['expected'],
  ...details: object[]
): FaultSample => ({
  name: `${code} ${status}: ${message} ${details.map((detail) => JSON.stringify(detail)).join()}`,
  status: code,
  body: googleError(code, status, message, ...details),
  expected: { reason: status, message, ...expected },
})

const other = (status: number, body: string | object, expected: FaultSample['expected']): FaultSample => ({
  name: `${status} ${JSON.stringify(body)}`,
  status,
  body,
  expected,
})

const BAD_KEY = 'API key not valid. Please pass a valid API key.'
const QUOTA = 'You exceeded your current quota, please check your plan and billing details.'
const PER_MINUTE = 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier'
const PER_DAY = 'GenerateRequestsPerDayPerProjectPerModel-FreeTier'
/** NOW_MS is 2 o'clock in the night there. */
const MIDNIGHT_PACIFIC = Date.UTC(2026, 10, 26, 8)

export const googleFaults: FaultSample[] = [
  typed(400, 'INVALID_ARGUMENT', 'Invalid JSON payload received. Unknown name "foo".', REQUEST),
  typed(400, 'INVALID_ARGUMENT', 'Function call is missing a thought_signature in functionCall parts.', REQUEST),
  typed(404, 'NOT_FOUND', 'models/gemini-nothing is not found for API version v1beta.', REQUEST),
  typed(501, 'UNIMPLEMENTED', 'Operation is not implemented.', REQUEST),
  other(404, PAGE, OVERLOAD),
  other(413, '', REQUEST),

  typed(400, 'INVALID_ARGUMENT', BAD_KEY, { ...CREDENTIAL, reason: 'API_KEY_INVALID' }, info('API_KEY_INVALID')),
  typed(400, 'INVALID_ARGUMENT', BAD_KEY, CREDENTIAL),
  typed(400, 'INVALID_ARGUMENT', 'API key expired. Please renew the API key.', CREDENTIAL),
  typed(400, 'INVALID_ARGUMENT', 'contents: API key not valid', REQUEST),
  typed(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.', CREDENTIAL),
  typed(
    403,
    'PERMISSION_DENIED',
    'Gemini API has not been used in project 1 before or it is disabled.',
    { ...CREDENTIAL, reason: 'SERVICE_DISABLED' },
    info('SERVICE_DISABLED'),
  ),
  typed(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked. Please use another API key.', {
    ...CREDENTIAL,
    disables: true,
  }),
  typed(
    403,
    'PERMISSION_DENIED',
    'Verify your account to continue.',
    { ...CREDENTIAL, disables: true, reason: 'VALIDATION_REQUIRED' },
    info('VALIDATION_REQUIRED'),
  ),
  typed(
    403,
    'PERMISSION_DENIED',
    'This service has been disabled in this account for violation of Terms of Service.',
    { ...CREDENTIAL, disables: true, reason: 'TOS_VIOLATION' },
    info('TOS_VIOLATION'),
  ),
  typed(403, 'PERMISSION_DENIED', 'The caller does not have permission', NOT_THIS),
  typed(400, 'FAILED_PRECONDITION', 'User location is not supported for the API use.', NOT_THIS),
  other(403, PAGE, OVERLOAD),
  other(401, '', CREDENTIAL),

  typed(
    403,
    'PERMISSION_DENIED',
    'This API method requires billing to be enabled.',
    { ...FUNDS, reason: 'BILLING_DISABLED' },
    info('BILLING_DISABLED'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    'No credits left.',
    { ...FUNDS, reason: 'INSUFFICIENT_G1_CREDITS_BALANCE' },
    info('INSUFFICIENT_G1_CREDITS_BALANCE'),
  ),
  other(402, '', FUNDS),

  typed(429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted (e.g. check quota).', RATE_LIMIT),
  typed(429, 'RESOURCE_EXHAUSTED', `${QUOTA}\nPlease retry in 34.07s.`, { ...RATE_LIMIT, retryAfterMs: 34_070 }),
  typed(429, 'RESOURCE_EXHAUSTED', QUOTA, { ...RATE_LIMIT, retryAfterMs: 34_075 }, retry('34.0745s')),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    QUOTA,
    { ...RATE_LIMIT, scope: 'model', retryAfterMs: 12_000, restUntilMs: NOW_MS + 12_000 },
    quota(PER_MINUTE),
    retry('12s'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    QUOTA,
    { ...RATE_LIMIT, scope: 'model', restUntilMs: MIDNIGHT_PACIFIC, retryAfterMs: 34_000 },
    quota(PER_MINUTE, PER_DAY),
    retry('34s'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    QUOTA,
    { ...RATE_LIMIT, restUntilMs: MIDNIGHT_PACIFIC },
    quota('GenerateRequestsPerDayPerProject'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    'You have exhausted your capacity on this model. Your quota will reset after 3h20m5s.',
    {
      ...{ ...RATE_LIMIT, scope: 'model', reason: 'QUOTA_EXHAUSTED' },
      ...{ retryAfterMs: 12_005_000, restUntilMs: NOW_MS + 12_005_000 },
    },
    info('QUOTA_EXHAUSTED', { quotaResetDelay: '3h20m5s' }),
    retry('12005.1s'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    'slow',
    { ...RATE_LIMIT, reason: 'RATE_LIMIT_EXCEEDED', retryAfterMs: 512 },
    info('RATE_LIMIT_EXCEEDED'),
    retry('512ms'),
  ),
  typed(
    429,
    'RESOURCE_EXHAUSTED',
    'No capacity available.',
    { ...OVERLOAD, reason: 'MODEL_CAPACITY_EXHAUSTED' },
    info('MODEL_CAPACITY_EXHAUSTED'),
  ),
  other(429, [googleError(429, 'RESOURCE_EXHAUSTED', 'in an array', retry('7s'))], {
    ...RATE_LIMIT,
    retryAfterMs: 7000,
  }),
  other(429, googleError(429, 'RESOURCE_EXHAUSTED', 'odd', retry('soon'), quota()), {
    ...RATE_LIMIT,
    retryAfterMs: null,
  }),
  other(429, PAGE, RATE_LIMIT),

  typed(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.', OVERLOAD),
  typed(500, 'INTERNAL', 'An internal error has occurred.', OVERLOAD),
  typed(504, 'DEADLINE_EXCEEDED', 'Deadline expired before operation could complete.', OVERLOAD),
  typed(499, 'CANCELLED', 'The operation was cancelled.', OVERLOAD),
  typed(500, 'INVALID_ARGUMENT', 'a server that calls its own fault the request’s', OVERLOAD),
  other(502, PAGE, { ...OVERLOAD, reason: 'http_502' }),
  other(200, PAGE, { ...OVERLOAD, reason: 'invalid_answer' }),
]

export const googleStreamFaults: ProviderSamples['streamFaults'] = [
  {
    name: 'overloaded',
    data: googleError(503, 'UNAVAILABLE', 'The model is overloaded.'),
    expected: { ...OVERLOAD, reason: 'UNAVAILABLE' },
  },
  {
    name: 'a quota within a 200',
    data: googleError(429, 'RESOURCE_EXHAUSTED', QUOTA, retry('9s')),
    expected: { ...RATE_LIMIT, retryAfterMs: 9000 },
  },
  { name: 'a refusal', data: googleError(400, 'INVALID_ARGUMENT', 'no'), expected: REQUEST },
  { name: 'no JSON', data: 'upstream connect error', expected: { ...OVERLOAD, reason: 'error_event' } },
]

export const geminiSamples: ProviderSamples = {
  asked: (operation) => ({
    path: `/v1beta/models/gemini-3.8-flash:${operation === 'count_tokens' ? 'countTokens' : 'generateContent'}`,
  }),
  operations: {
    messages: { method: 'POST', path: '/v1beta/models/gemini-3.8-flash:generateContent' },
    count_tokens: { method: 'POST', path: '/v1beta/models/gemini-3.8-flash:countTokens' },
    models: { method: 'GET', path: '/v1beta/models' },
  },
  forwarded: {
    'user-agent': 'GeminiCLI-tui/0.61.0/gemini-3.1-pro-preview (linux; x64; terminal)',
    'x-goog-api-client': 'google-genai-sdk/1.30.0 gl-node/v26.10.0',
    'x-gemini-api-privileged-user-id': '53b53a0f-8777-4fea-854e-f576491e1b68',
    'content-type': 'application/json',
    accept: '*/*',
  },
  signature: (apiKey) => ['x-goog-api-key', apiKey],
  faults: googleFaults,
  streamFaults: googleStreamFaults,
  windows: [{ name: 'Google tells of none', headers: { 'x-ratelimit-limit': '1' }, expected: [] }],
  models: {
    body: JSON.stringify({
      models: [
        { name: 'models/gemini-3.8-flash', displayName: 'Gemini', supportedGenerationMethods: ['generateContent'] },
        { name: 'models/text-embedding-005', supportedGenerationMethods: ['embedContent'] },
        { name: 'models/aqa', supportedGenerationMethods: ['generateAnswer'] },
      ],
      nextPageToken: 'x',
    }),
    ids: ['gemini-3.8-flash', 'text-embedding-005'],
  },
}

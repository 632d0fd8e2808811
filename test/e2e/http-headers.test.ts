import t from 'tap'
import { messageRequest, RawConnection, until } from '../support/client.ts'
import { startGateway } from '../support/gateway.ts'
import { seededRandom } from '../support/random.ts'

t.test('headers go through by name, both ways', async (t) => {
  const upstreamHeaders = {
    'request-id': 'req_of_the_vendor',
    'anthropic-ratelimit-unified-status': 'rejected',
    'anthropic-organization-id': 'org_1',
    'set-cookie': 'a=b',
    'x-odd': 'odd',
    server: 'theirs',
  }
  const gw = await startGateway(t, {
    config: {
      'security.response_headers.enabled': true,
      'security.response_headers.additional_allowed': ['X-Odd', 'anthropic-organization-id'],
      'security.response_headers.force_remove': ['Anthropic-Organization-Id'],
    },
    setUp: (site) =>
      site.scene({
        accounts: [
          {
            headers: { 'anthropic-beta': 'ours' },
            scripts: [{ headers: upstreamHeaders }, { headers: upstreamHeaders, status: 400 }],
          },
        ],
      }),
  })
  const answers = [false, true].map((beta) =>
    gw.call({
      path: `/v1/messages${beta ? '?beta=true' : ''}`,
      key: gw.scenes.key,
      body: messageRequest(false),
      headers: {
        ...{
          'anthropic-version': '2026-10-21',
          'anthropic-beta': 'theirs',
          'x-claude-code-session-id': 's',
          'x-app': 'cli',
        },
        ...{ 'x-stainless-lang': 'js', 'user-agent': 'claude-cli/2.1', cookie: 'c=d', 'x-forwarded-for': '192.0.2.1' },
        ...{ 'x-subgate-timing': '1', 'x-unknown': 'u', 'accept-encoding': 'br', te: 'trailers' },
      },
    }),
  )
  for (const { headers } of await Promise.all(answers)) {
    t.match(headers, { 'request-id': 'req_of_the_vendor', 'x-odd': 'odd', 'x-subgate-call-id': /^call_/ })
    const strangers = ['anthropic-ratelimit-unified-status', 'anthropic-organization-id', 'set-cookie', 'server']
    t.same(
      strangers.filter((name) => headers[name] !== undefined),
      [],
    )
  }
  const rows = await gw.settled()
  t.match(rows, [{ userAgent: 'claude-cli/2.1', clientIp: '127.0.0.1' }, {}])
  t.same(new Set(rows.map(({ upstreamRequestId }) => upstreamRequestId)), new Set(['req_of_the_vendor', null]))
  const [first, second] = gw.upstream.seen
  t.same(new Set([first?.path, second?.path]), new Set(['/v1/messages', '/v1/messages?beta=true']))
  const { host: _, connection: __, 'content-length': ___, 'x-api-key': credential, ...sent } = first?.headers ?? {}
  t.match(credential, /^sk-ant-api03-/)
  t.same(sent, {
    ...{ 'anthropic-version': '2026-10-21', 'anthropic-beta': 'ours', 'x-claude-code-session-id': 's', 'x-app': 'cli' },
    ...{ 'x-stainless-lang': 'js', 'user-agent': 'claude-cli/2.1', 'content-type': 'application/json' },
    'accept-encoding': 'identity',
  })
})

t.test('whatever comes, the daemon lives, and holds nothing of it', async (t) => {
  const gw = await startGateway(t, { setUp: (site) => site.scene() })
  const body = JSON.stringify(messageRequest(true))
  const whole = Buffer.from(
    `POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: ${gw.scenes.key}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  const connections = Array.from({ length: 300 }, (_, seed) => {
    const random = seededRandom(seed)
    const upTo = (max: number) => Math.floor(random() * max)
    const bytes = Buffer.from(whole)
    for (let i = upTo(4); i > 0; i--) bytes[upTo(bytes.length)] = upTo(256)
    const connection = new RawConnection(gw.url)
    connection.send(random() < 0.5 ? bytes : bytes.subarray(0, upTo(bytes.length)))
    // Some leave at once, some when they have heard something, some when all others have.
    if (seed % 3 === 0) connection.socket.end()
    if (seed % 3 === 1) connection.socket.once('data', () => connection.leave())
    return connection
  })
  await until('the connections to be there', () => connections.every(({ socket }) => !socket.connecting))
  t.equal((await gw.call({ key: gw.scenes.key, body: messageRequest(false) })).status, 200)
  for (const connection of connections) connection.leave()
  const rows = await gw.settled()
  t.ok(rows.some(({ outcome }) => outcome === 'complete'))
  t.match(await gw.call({ key: gw.scenes.key, body: messageRequest(true) }), { status: 200, text: /message_stop/ })
  t.same((await gw.gateway.store.usage.verify()).problems, [])
  t.same(
    gw.log.filter(({ msg }) => msg === 'a bug'),
    [],
  )
})

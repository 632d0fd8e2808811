import t from 'tap'
import { optionsOf } from '../../src/live/redis-connection.ts'

t.test('a URL says where Redis is, and how it is reached', async (t) => {
  t.same(optionsOf('redis://localhost'), { host: 'localhost', port: 6379, db: 0 })
  t.same(optionsOf('redis://me:p%40ss@[::1]:7/3'), { username: 'me', password: 'p@ss', host: '::1', port: 7, db: 3 })
  t.same(optionsOf('rediss://:secret@cache.example:6380/1'), {
    password: 'secret',
    host: 'cache.example',
    port: 6380,
    db: 1,
    tls: {},
  })
  t.same(optionsOf('redis+sentinel://:secret@one:26379,two/main/2'), {
    name: 'main',
    password: 'secret',
    sentinelPassword: 'secret',
    sentinels: [
      { host: 'one', port: 26379 },
      { host: 'two', port: 26379 },
    ],
    db: 2,
  })
  t.match(optionsOf('rediss+sentinel://one/main'), { enableTLSForSentinelMode: true, tls: {}, sentinelTLS: {} })
})

t.test('what is no such URL is refused with the forms that there are, and without its password', async (t) => {
  for (const url of ['http://x', 'redis://:secret@x/y', 'redis+sentinel://:secret@x', 'redis://:secret@a:b:c']) {
    try {
      optionsOf(url)
      t.fail(url)
    } catch (error) {
      t.match(error, { code: 'invalid_request', facts: { hint: /redis\+sentinel:/ } })
      t.notMatch((error as Error).message, /secret/)
    }
  }
})

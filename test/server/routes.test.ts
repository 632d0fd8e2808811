import t from 'tap'
import { findRoute, routes } from '../../src/server/routes.ts'

t.test('every route is found by its own path and methods', async (t) => {
  const lost = routes.flatMap((route) =>
    route.methods
      .map((method) => findRoute(route.path.replace('*', 'something'), method))
      .filter((found) => found?.handle !== route.handle),
  )
  t.same(lost, [])
})

t.test('the last segment of a path is a parameter where the route says so', async (t) => {
  t.match(findRoute('/v1/models/claude-a', 'GET'), { parameter: 'claude-a', handle: Function })
  t.match(findRoute('/v1/models/a%20b%2Fc', 'GET'), { parameter: 'a b/c' })
  t.match(findRoute('/v1/models', 'GET'), { parameter: '' })
  for (const path of ['/v1/models/', '/v1/models/a/b', '/v1/models/%ff', '/v1/messages/x', '/v1', '', '*']) {
    t.equal(findRoute(path, 'GET'), null, path)
  }
})

t.test('the one before may be one as well', async (t) => {
  t.match(findRoute('/v1/files/file-1/content', 'GET'), { parameter: 'file-1', handle: Function })
  t.match(findRoute('/v1/messages/batches/b/results', 'GET'), { parameter: 'b', handle: Function })
  t.match(findRoute('/v1/files/*', 'GET'), { parameter: '*' }, 'a star is no other than any segment')
  t.equal(findRoute('/v1/files//content', 'GET'), null)
  t.equal(findRoute('/v1/files/a/b/content', 'GET'), null)
})

t.test('another method is told apart from no path', async (t) => {
  t.match(findRoute('/v1/messages', 'GET'), { handle: null, methods: ['POST'] })
  t.match(findRoute('/v1/files/file-1', 'PUT'), { handle: null, methods: ['GET', 'DELETE'] }, 'all that there are')
})

import t from 'tap'
import { findRoute, routes } from '../../src/server/routes.ts'

t.test('every route is found by its own path and methods', async (t) => {
  const lost = routes.flatMap((route) =>
    route.methods
      .map((method) => findRoute(route.path.replace('*', 'something'), method))
      .filter((found) => found?.route !== route || !found.allowed),
  )
  t.same(lost, [])
})

t.test('the last segment of a path is a parameter where the route says so', async (t) => {
  t.match(findRoute('/v1/models/claude-a', 'GET'), { parameter: 'claude-a', allowed: true })
  t.match(findRoute('/v1/models/a%20b%2Fc', 'GET'), { parameter: 'a b/c' })
  t.match(findRoute('/v1/models', 'GET'), { parameter: '' })
  for (const path of ['/v1/models/', '/v1/models/a/b', '/v1/models/%ff', '/v1/messages/x', '/v1', '', '*']) {
    t.equal(findRoute(path, 'GET'), null, path)
  }
})

t.test('another method is told apart from no path', async (t) => {
  t.match(findRoute('/v1/messages', 'GET'), { allowed: false, route: { methods: ['POST'] } })
})

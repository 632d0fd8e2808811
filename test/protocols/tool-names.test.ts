import fc from 'fast-check'
import t from 'tap'
import type { FunctionTool } from '../../src/protocols/neutral.ts'
import { COMMON_NAMES, ToolNames } from '../../src/protocols/tool-names.ts'

function tool(namespace: string | null, name: string): FunctionTool {
  return { kind: 'function', namespace, name, description: null, parameters: {}, strict: null, deferred: false }
}

t.test('a name that fits stays; any other becomes one that does, and leads back', async (t) => {
  const tools = [tool(null, 'look'), tool('fs', 'read'), tool(null, 'mcp.server:tool'), tool(null, 'x'.repeat(80))]
  const names = new ToolNames(tools, COMMON_NAMES)
  t.equal(names.wireName(null, 'look'), 'look')
  t.equal(names.wireName('fs', 'read'), 'fs__read')
  t.match(names.wireName(null, 'mcp.server:tool'), /^mcp_server_tool_[0-9a-f]{8}$/)
  for (const one of tools) t.equal(names.toolOf(names.wireName(one.namespace, one.name)), one)
  t.equal(names.toolOf('made_up'), null)
})

t.test('no two tools share a name on the wire, and each turn calls them the same', async () => {
  const part = fc.stringMatching(/^[a-c_.]{1,40}$/)
  const all = fc.uniqueArray(fc.tuple(fc.option(part), part), {
    selector: (pair) => JSON.stringify(pair),
    maxLength: 12,
  })
  fc.assert(
    fc.property(all, (pairs) => {
      const tools = pairs.map(([namespace, name]) => tool(namespace, name))
      const names = new ToolNames(tools, { charactersMax: 24, forbidden: /[^a-z_]/g })
      const again = new ToolNames(tools, { charactersMax: 24, forbidden: /[^a-z_]/g })
      for (const one of tools) {
        const wireName = names.wireName(one.namespace, one.name)
        if (
          names.toolOf(wireName) !== one ||
          wireName.length > 24 ||
          again.wireName(one.namespace, one.name) !== wireName
        ) {
          throw new Error(`${one.namespace} ${one.name} → ${wireName}`)
        }
      }
    }),
  )
})

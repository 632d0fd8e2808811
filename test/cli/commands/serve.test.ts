import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { initializedCli, newCli } from '../../support/cli.ts'

t.test('a configured gateway whose database is not there makes no empty one', async (t) => {
  const written = newCli()
  const config = join(written.home, 'config.yaml')
  writeFileSync(config, 'server:\n  port: 0\n', { mode: 0o600 })
  const moved = await initializedCli()
  rmSync(moved.dataDir, { recursive: true })
  for (const result of [await written('serve', '--config', config), await moved('serve')]) {
    t.match(result, { code: 3, stdout: '', stderr: /there is no database at .*subgate init makes one/s })
  }
  t.notOk(existsSync(moved.dataDir) || existsSync(written.dataDir))
})

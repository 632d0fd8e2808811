import t from 'tap'
import { ownCommand } from '../../src/cli/own-command.ts'

t.test('what to type to run it again', async (t) => {
  const entry = '/home/ada/subgate/src/cli/main.ts'
  t.equal(ownCommand(entry, '/home/ada/subgate'), 'bin/subgate')
  t.equal(ownCommand(entry, '/home/ada'), 'subgate/bin/subgate')
  t.equal(ownCommand(entry, '/home/bob'), '/home/ada/subgate/bin/subgate')
  t.equal(ownCommand(entry, null), '/home/ada/subgate/bin/subgate', 'from anywhere')
  t.equal(ownCommand('/usr/bin/subgate', '/usr'), 'subgate', 'the single binary')
  t.equal(ownCommand(undefined, '/'), 'subgate')
})

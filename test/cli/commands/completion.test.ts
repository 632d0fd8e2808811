import { spawnSync } from 'node:child_process'
import t from 'tap'
import { newCli } from '../../support/cli.ts'

/** What bash would offer behind these words. */
function offered(script: string, words: string[]): string[] {
  const line = words.map((word) => `'${word}'`).join(' ')
  const program = `${script}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _subgate; printf '%s\\n' "\${COMPREPLY[@]}"`
  const result = spawnSync('bash', ['-c', program], { encoding: 'utf8', timeout: 10_000 })
  return result.stdout.split('\n').filter(Boolean)
}

t.test('bash completes nouns, verbs, choices and flags', async (t) => {
  const { code, stdout } = await newCli()('completion', 'bash')
  t.equal(code, 0)
  t.same(offered(stdout, ['subgate', 'us']).sort(), ['usage', 'user'])
  t.ok(['add', 'list', 'credit'].every((verb) => offered(stdout, ['subgate', 'user', '']).includes(verb)))
  t.same(offered(stdout, ['subgate', 'user', 'add', '--bal']), ['--balance'])
  t.same(offered(stdout, ['subgate', 'user', 'add', 'a@b', '--conc']), ['--concurrency'], 'behind an argument as well')
  t.same(offered(stdout, ['subgate', '--json', 'completion', 'z']), ['zsh'])
  t.ok(offered(stdout, ['subgate', 'nonsense', '--']).includes('--json'), 'and never hangs')
})

t.test('zsh and fish get scripts of their own', async (t) => {
  t.match((await newCli()('completion', 'zsh')).stdout, /^#compdef subgate.*'user add'\) options=/s)
  t.match((await newCli()('completion', 'fish')).stdout, /complete -c subgate .*-l balance/)
  t.match(await newCli()('completion', 'tcsh'), {
    code: 2,
    stderr: /'tcsh' is no shell\. Possible: bash, zsh, fish/,
  })
})

import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { examples } from '../examples.ts'
import { choiceArgument } from '../options.ts'
import { type Fill, wholeProgram } from '../program.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

export const fill: Fill = (completion, act) => {
  completion
    .addArgument(choiceArgument('shell', SHELLS))
    .addHelpText(
      'after',
      examples(
        'source <(subgate completion bash)                                        this shell',
        'subgate completion zsh > ~/.zfunc/_subgate              (a folder of $fpath)',
        'subgate completion fish > ~/.config/fish/completions/subgate.fish',
      ),
    )
    .action(act(print))
}

async function print(context: Context, _flags: object, shell: string): Promise<void> {
  const words = wordsByPath(await wholeProgram(context.io))
  await context.out.raw(SCRIPTS[shell as Shell](words))
}

/** What may follow each command path (`user add`), with a word on what it does. */
type Words = Map<string, { word: string; help: string }[]>

function wordsByPath(program: Command): Words {
  const words: Words = new Map()
  const global = optionsOf(program)
  const visit = (command: Command, path: string) => {
    const verbs = command.commands.map((child) => ({ word: child.name(), help: child.summary() }))
    const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? [])
    const own = path === '' ? [] : optionsOf(command)
    words.set(path, [...verbs, ...choices.map((word) => ({ word, help: '' })), ...own, ...global])
    for (const child of command.commands) visit(child, path === '' ? child.name() : `${path} ${child.name()}`)
  }
  visit(program, '')
  return words
}

function optionsOf(command: Command): { word: string; help: string }[] {
  const own = command.options.filter((option) => !option.hidden && option.long)
  return own.map((option) => ({ word: option.long as string, help: option.description }))
}

const SCRIPTS: Record<Shell, (words: Words) => string> = {
  bash: (words) => `# bash completion for subgate
_subgate() {
  local word path="" options current="\${COMP_WORDS[COMP_CWORD]}"
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${cases(words, (entries) => `options=${quoted(entries.map(({ word }) => word).join(' '))}`)}
      *" "*) path="\${path% *}"; continue ;;
      *) path=""; continue ;;
    esac
    break
  done
  COMPREPLY=($(compgen -W "$options" -- "$current"))
}
complete -o default -F _subgate subgate
`,
  zsh: (words) => `#compdef subgate
_subgate() {
  local word path="" current
  local -a options
  for word in "\${words[@]:1:$((CURRENT-2))}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${cases(words, (entries) => `options=(${entries.map(({ word, help }) => quoted(`${word}:${help}`)).join(' ')})`)}
      *" "*) path="\${path% *}"; continue ;;
      *) path=""; continue ;;
    esac
    break
  done
  _describe subgate options || _files
}
if [ "$funcstack[1]" = "_subgate" ]; then _subgate "$@"; else compdef _subgate subgate; fi
`,
  fish: (words) =>
    [
      '# fish completion for subgate',
      'function __subgate_path',
      '  set -l path',
      '  for word in (commandline -opc)[2..]',
      "    string match -q -- '-*' $word; or set -a path $word",
      '  end',
      '  string join " " -- $path',
      'end',
      ...Array.from(words, ([path, entries]) =>
        entries.map(({ word, help }) => {
          const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
          const when =
            path === '' ? `test -z (__subgate_path)` : `string match -q -- ${quoted(`${path}*`)} (__subgate_path)`
          return `complete -c subgate -n ${quoted(when)} ${what} -d ${quoted(help)}`
        }),
      ).flat(),
      '',
    ].join('\n'),
}

function cases(words: Words, body: (entries: { word: string; help: string }[]) => string): string {
  return Array.from(words, ([path, entries]) => `      ${quoted(path)}) ${body(entries)} ;;`).join('\n')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

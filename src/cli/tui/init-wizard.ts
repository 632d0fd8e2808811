import { Box, render, Text, useApp, useInput } from 'ink'
import { createElement as e, type ReactElement, useEffect, useRef, useState } from 'react'
import type { FoundAccount } from '../../operations/account-files.ts'
import type { FirstConfig } from '../../operations/set-up.ts'
import { listenFlag } from '../commands/init.ts'
import type { Io } from '../context.ts'

export interface WizardAnswers extends FirstConfig {
  adminEmail: string
  /** Those of the found accounts that are wanted. */
  accounts: FoundAccount[]
  /** An API key that was typed in; null = none. */
  pastedKey: { provider: string; apiKey: string } | null
}

interface WizardOptions {
  io: Io
  found: FoundAccount[]
  defaults: FirstConfig & { adminEmail: string }
}

/** Asks what `init` needs to know, question by question. Resolves with null if the person gives up (Escape or Ctrl-C). */
export async function runInitWizard({ io, found, defaults }: WizardOptions): Promise<WizardAnswers | null> {
  let answers: WizardAnswers | null = null
  const done = (given: WizardAnswers) => {
    answers = given
  }
  // stdout is for data: the wizard talks on stderr.
  const app = render(e(Wizard, { found, defaults, done }), {
    interactive: true, // whoever calls has seen a terminal; left to itself, ink draws nothing where CI is set
    stdin: io.stdin as NodeJS.ReadStream,
    stdout: io.stderr as NodeJS.WriteStream,
    exitOnCtrlC: true,
  })
  await app.waitUntilExit()
  return answers
}

interface Asked {
  question: string
  answer: string
}

function Wizard({ found, defaults, done }: Omit<WizardOptions, 'io'> & { done: (answers: WizardAnswers) => void }) {
  const app = useApp()
  const [asked, setAsked] = useState<Asked[]>([])
  const [answers, setAnswers] = useState<WizardAnswers>({ ...defaults, accounts: [], pastedKey: null })
  const questions = questionsFor(found, answers)
  const current = questions[asked.length]
  useInput((_input, key) => {
    if (key.escape) app.exit()
  })
  const answered = (said: string, change: Partial<WizardAnswers>) => {
    setAnswers({ ...answers, ...change })
    setAsked([...asked, { question: current?.title ?? '', answer: said }])
  }
  useEffect(() => {
    if (current) return
    done(answers)
    app.exit()
  })
  return e(
    Box,
    { flexDirection: 'column' },
    e(Text, { bold: true }, 'subgate: set-up'),
    e(Text, { dimColor: true }, 'Enter takes what is suggested · Escape gives up, and nothing is written\n'),
    ...asked.map(({ question, answer }) =>
      e(
        Text,
        { key: question },
        e(Text, { color: 'green' }, '✓ '),
        `${question}  `,
        e(Text, { color: 'cyan' }, answer),
      ),
    ),
    current ? e(Question, { key: current.title, question: current, answered }) : null,
  )
}

/** One question: to be answered by choosing, or by typing. `read` throws what is wrong with a text. */
interface QuestionFacts {
  title: string
  help: string
  choices?: { label: string; value: Partial<WizardAnswers> }[]
  suggested?: string
  hidden?: boolean
  read?: (text: string) => Partial<WizardAnswers>
}

function questionsFor(found: FoundAccount[], answers: WizardAnswers): QuestionFacts[] {
  const address = (host: string, port: number) => `${host.includes(':') ? `[${host}]` : host}:${port}`
  return [
    {
      title: 'Who will use it?',
      help: 'It can be changed later: run_mode in the configuration.',
      choices: [
        { label: 'I, or a team that trusts each other: nobody is billed', value: { runMode: 'simple' } },
        { label: 'users whom I bill: balances are debited', value: { runMode: 'saas' } },
      ],
    },
    {
      title: 'Where shall it listen?',
      help: '127.0.0.1 is reachable from this machine only.',
      suggested: address(answers.host, answers.port),
      read: (text) => listenFlag(text),
    },
    {
      title: 'The first user?',
      help: 'An e-mail, or any name with an @.',
      suggested: answers.adminEmail,
      read(text) {
        if (!/^[^\s@]+@[^\s@]+$/.test(text)) throw new Error('this is not an e-mail address')
        return { adminEmail: text }
      },
    },
    ...(found.length > 0
      ? [
          {
            title: `Use ${found.map(({ from }) => from).join(' and ')} of this shell as upstream?`,
            help: 'The key is sealed in the data directory; the shell keeps its own.',
            choices: [
              { label: 'yes', value: { accounts: found } },
              { label: 'no', value: { accounts: [] } },
            ],
          },
        ]
      : [
          {
            title: 'An Anthropic API key, as the first account?',
            help: 'Paste it, or press Enter to add accounts later. It is not shown.',
            suggested: '',
            hidden: true,
            read: (text: string) => ({ pastedKey: text === '' ? null : { provider: 'anthropic', apiKey: text } }),
          },
        ]),
  ]
}

interface QuestionProps {
  question: QuestionFacts
  answered: (said: string, change: Partial<WizardAnswers>) => void
}

function Question(props: QuestionProps): ReactElement {
  return props.question.choices ? e(Choice, props) : e(TextField, props)
}

function Choice({ question, answered }: QuestionProps): ReactElement {
  const [at, setAt] = useState(0)
  const choices = question.choices ?? []
  useInput((input, key) => {
    if (key.upArrow) setAt((at + choices.length - 1) % choices.length)
    if (key.downArrow || key.tab) setAt((at + 1) % choices.length)
    const chosen = choices[at]
    // Pressed before the terminal was ready for single keys, Enter comes as a line end.
    const isEnter = key.return || /[\r\n]/.test(input)
    if (isEnter && chosen) answered(chosen.label, chosen.value)
  })
  return e(
    Box,
    { flexDirection: 'column' },
    e(Head, { question }),
    ...choices.map(({ label }, index) =>
      e(Text, { key: label, ...(index === at && { color: 'cyan' as const }) }, `${index === at ? '❯' : ' '} ${label}`),
    ),
  )
}

function TextField({ question, answered }: QuestionProps): ReactElement {
  const [text, setText] = useState('')
  const [complaint, setComplaint] = useState('')
  const typed = useRef('') // several keys of one chunk come before the next rendering
  const submit = () => {
    const given = typed.current.trim() || (question.suggested ?? '')
    try {
      answered(question.hidden ? (given ? `…${given.slice(-4)}` : 'later') : given, question.read?.(given) ?? {})
    } catch (error) {
      setComplaint((error as Error).message)
    }
  }
  useInput((input, key) => {
    // What is pasted comes in one piece, with its line end.
    const [line = '', ...more] = input.split(/[\r\n]/)
    if (key.backspace || key.delete) typed.current = typed.current.slice(0, -1)
    else if (!key.return && !key.ctrl && !key.meta) typed.current += line
    setText(typed.current)
    if (key.return || more.length > 0) submit()
  })
  const shown = question.hidden ? '•'.repeat(text.length) : text
  return e(
    Box,
    { flexDirection: 'column' },
    e(Head, { question }),
    e(
      Text,
      null,
      e(Text, { color: 'cyan' }, '❯ '),
      shown === '' && question.suggested ? e(Text, { dimColor: true }, question.suggested) : shown,
      e(Text, { inverse: true }, ' '),
    ),
    complaint === '' ? null : e(Text, { color: 'red' }, complaint),
  )
}

function Head({ question }: { question: QuestionFacts }): ReactElement {
  return e(
    Box,
    { flexDirection: 'column' },
    e(Text, { bold: true }, question.title),
    e(Text, { dimColor: true }, question.help),
  )
}

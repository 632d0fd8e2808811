import { InvalidArgumentError } from 'commander'
import { GatewayError } from '../../domain/errors.ts'
import { CLIENTS, type Client, clientLines, gatewayUrl } from '../client-lines.ts'
import type { Context } from '../context.ts'
import { choiceOption } from '../options.ts'
import type { Fill } from '../program.ts'

export const fill: Fill = (env, act) => {
  env
    .argument('<key>', 'id or name of an issued key')
    .addOption(choiceOption('--client <client>', 'for whom', CLIENTS).default('claude-code'))
    .option('--url <url>', 'where clients reach the gateway, if not on this machine')
    .option('--key-from-env <name>', 'fill in the key itself from this variable')
    .addHelpText(
      'after',
      '\nThe key itself is stored as a hash only, so it stands here as a placeholder unless you hand it in.\n\nExamples:\n  subgate env laptop\n  SUBGATE_KEY=… ; eval "$(subgate env laptop --key-from-env SUBGATE_KEY)"',
    )
    .action(act(print))
}

interface EnvFlags {
  client: Client
  url?: string
  keyFromEnv?: string
}

async function print(context: Context, flags: EnvFlags, ref: string): Promise<void> {
  const { out, io } = context
  const work = await context.work()
  const apiKey = await work.store.keys.find(ref)
  if (flags.url !== undefined && !URL.canParse(flags.url)) throw new InvalidArgumentError(`'${flags.url}' is not a URL`)
  const url = flags.url?.replace(/\/+$/, '') ?? (await gatewayUrl(context.config))
  const given = flags.keyFromEnv === undefined ? undefined : io.env[flags.keyFromEnv]?.trim()
  if (flags.keyFromEnv !== undefined && !given) {
    throw new GatewayError('invalid_request', `the environment has no ${flags.keyFromEnv}`)
  }
  if (given) {
    const owner = await work.store.keys.callerOf(work.secrets.hashKey(given))
    if (owner?.key.id !== apiKey.id)
      throw new GatewayError('conflict', `${flags.keyFromEnv} does not hold the key ${apiKey.id}`)
  }
  const lines = clientLines(flags.client, url, given ?? 'PASTE-THE-KEY-HERE')
  out.data({ client: flags.client, url, keyId: apiKey.id, lines }, () => lines.join('\n'))
  if (!given)
    out.say(
      `The key ends in ${apiKey.last4}; it was shown when it was issued. Lost it? subgate key rotate ${apiKey.id}`,
    )
}

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { isSeq, parseDocument } from 'yaml'
import type { LoadedConfig } from '../config/load.ts'
import { GatewayError } from '../domain/errors.ts'

const HOSTS = ['security', 'url_allowlist', 'upstream_hosts']

/**
 * Adds hosts to the allowlist in the configuration file, which is otherwise left as it is. Throws `conflict` if there is
 * no file, or something stronger than the file (environment, flag) says what the list is.
 */
export function allowHosts({ file, keys, config }: LoadedConfig, hosts: readonly string[]): string {
  const key = keys.find(({ key }) => key.path === HOSTS.join('.'))
  if (key && key.source !== 'default' && key.source !== 'file') {
    throw new GatewayError('conflict', `the list of allowed hosts comes from the ${key.source}`, {
      hint: `Add ${hosts.join(', ')} there.`,
    })
  }
  if (!file || !existsSync(file)) {
    throw new GatewayError('conflict', 'there is no configuration file to add the host to', {
      hint: 'subgate init writes one.',
    })
  }
  const document = parseDocument(readFileSync(file, 'utf8'))
  const list = document.getIn(HOSTS)
  if (isSeq(list)) for (const host of hosts) list.add(document.createNode(host))
  else document.setIn(HOSTS, document.createNode([...config.urls.upstreamHosts, ...hosts]))
  replaceFile(file, document.toString({ lineWidth: 0 }))
  return file
}

/** Writes beside and renames, so that no reader ever sees half a file. */
function replaceFile(file: string, text: string): void {
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, file)
}

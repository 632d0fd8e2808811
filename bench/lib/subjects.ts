import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }

/** A process that is measured, or that helps to. */
export interface Subject {
  name: string
  port: number
  pid: number
  /** Keys to ask with; one that nobody looks at where there are none. */
  keys: string[]
  child: ChildProcess
  dataDir?: string
  stop(): Promise<void>
}

const HERE = import.meta.dirname

/** What a script says when it listens. */
interface Started {
  port: number
  keys?: string[]
  dataDir?: string
}

/** The flags of Node that subgate runs with. */
export const NODE_FLAGS = manifest.subgate.nodeFlags.split(' ')

export async function startScript(
  name: string,
  script: string,
  args: string[],
  execArgv = script === 'gateway.ts' ? NODE_FLAGS : [],
): Promise<Subject> {
  const child = fork(join(HERE, script), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv })
  const died = once(child, 'exit').then(([code]) => Promise.reject(new Error(`${script} ended with ${code}`)))
  const [message] = (await Promise.race([once(child, 'message'), died])) as [Started]
  died.catch(() => {}) // later it is told to
  return {
    name,
    port: message.port,
    pid: child.pid as number,
    keys: message.keys ?? ['sk-bench-nobody-looks'],
    child,
    ...(message.dataDir !== undefined && { dataDir: message.dataDir }),
    stop: async () => {
      child.kill('SIGTERM')
      await once(child, 'exit')
      if (message.dataDir) rmSync(message.dataDir, { recursive: true, force: true })
    },
  }
}

export function hasNginx(): boolean {
  return spawnSync('nginx', ['-v']).status === 0
}

/** nginx with one worker as a proxy, or as an upstream that answers two files. */
export async function startNginx(name: string, locations: string, upstreams = ''): Promise<Subject> {
  const dir = mkdtempSync(join(tmpdir(), 'subgate-nginx-'))
  const port = await freePort()
  for (const folder of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(dir, folder))
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log crit; worker_rlimit_nofile 20000;
     events { worker_connections 8192; }
     http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 64m;
       client_body_buffer_size 256k; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
       fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
       ${upstreams}
       server { listen 127.0.0.1:${port} backlog=8192; ${locations.replaceAll('@DIR@', dir)} } }`,
  )
  const child = spawn('nginx', ['-p', dir, '-c', join(dir, 'nginx.conf')], { stdio: ['ignore', 'inherit', 'inherit'] })
  await untilListening(port)
  const worker = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0])
  return {
    name,
    port,
    pid: worker,
    keys: ['sk-bench-nobody-looks'],
    child,
    dataDir: dir,
    stop: async () => {
      child.kill('SIGTERM')
      await once(child, 'exit')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    )
    if (answered) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on ${port}`)
}

/** CPU seconds that a process has used, all threads together. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

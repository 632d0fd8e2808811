import { pino } from 'pino'
import type { Config } from '../config/load.ts'
import { type Logger, redact } from '../lib/log.ts'

const LEVELS: Record<number, string> = { 10: 'TRACE', 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' }

/** Logs to stderr: JSON lines for machines, or one readable line each. Every line passes the redaction. */
export function createLogger(config: Config['log']): Logger {
  const write = config.format === 'json' ? redact : (line: string) => redact(readable(line))
  return pino(
    { level: config.level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` },
    { write: (line: string) => void process.stderr.write(write(line)) },
  )
}

/** `12:34:56 WARN an account rests  account=a reason=rate_limit_error` */
function readable(line: string): string {
  const { level, time, msg, ...facts } = JSON.parse(line) as { level: number; time: string; msg?: string }
  const rest = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${[time.slice(11, 19), LEVELS[level], msg, rest.length > 0 ? ` ${rest.join(' ')}` : ''].filter(Boolean).join(' ')}\n`
}

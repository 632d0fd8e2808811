/** How a connection is encrypted and whom it believes, as libpq names it. */
export const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

/** A PostgreSQL server, or a pooler in front of one, and how to log in there. */
export interface PostgresServer {
  /** A name, an address, or the folder of a unix socket. */
  host: string
  port: number
  user: string
  /** Null = the server asks for none. */
  password: string | null
  dbname: string
  sslMode: SslMode
  /** A file of certificates (PEM) that are trusted in place of the system's. */
  caFile: string | null
}

/** What a URL says of a server. */
export type PostgresUrl = Partial<PostgresServer> & Pick<PostgresServer, 'host'>

const EXAMPLE = 'postgres://user:password@host:5432/subgate'
const PARAMETERS = ['host', 'sslmode', 'sslrootcert'] as const

/**
 * Reads `postgres://user:password@host:5432/dbname?sslmode=…&sslrootcert=…`; `?host=/folder` names a unix socket's. Throws
 * an error that says what is wrong with it, without any part of it that may be secret.
 */
export function parsePostgresUrl(text: string): PostgresUrl {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !['postgres:', 'postgresql:'].includes(url.protocol) || url.hash !== '') {
    throw new Error(`must be a URL such as ${EXAMPLE}; in a password @ is written %40, / %2F, # %23 and : %3A`)
  }
  const unknown = [...url.searchParams.keys()].find((name) => !PARAMETERS.includes(name as never))
  if (unknown !== undefined) throw new Error(`its parameter ${unknown} is unknown; known are ${PARAMETERS.join(', ')}`)
  const host = url.searchParams.get('host') ?? decoded(url.hostname).replace(/^\[|\]$/g, '')
  if (host === '' || host.includes(',')) throw new Error('must name one host')
  const sslMode = url.searchParams.get('sslmode')
  if (sslMode !== null && !SSL_MODES.includes(sslMode as SslMode)) {
    throw new Error(`its sslmode must be one of ${SSL_MODES.join(', ')}`)
  }
  const dbname = decoded(url.pathname.slice(1))
  const caFile = url.searchParams.get('sslrootcert')
  return {
    host,
    ...(url.port && { port: Number(url.port) }),
    ...(url.username && { user: decoded(url.username) }),
    ...(url.password && { password: decoded(url.password) }),
    ...(dbname && { dbname }),
    ...(sslMode !== null && { sslMode: sslMode as SslMode }),
    ...(caFile !== null && { caFile }),
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new Error('has a % that no character follows: it is written %25')
  }
}

/** A server as operators and logs may see it. */
export function serverName({ host, port, dbname }: Pick<PostgresServer, 'host' | 'port' | 'dbname'>): string {
  return host.startsWith('/')
    ? `${host}:${port}/${dbname}`
    : `postgres://${host.includes(':') ? `[${host}]` : host}:${port}/${dbname}`
}

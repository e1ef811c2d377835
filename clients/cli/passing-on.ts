/** Requests of the page that a node serves, passed on to the coordinator's gateway: bytes both ways, as they come. */
import { request as askPlain, type IncomingMessage, type RequestOptions, type ServerResponse } from 'node:http'
import { request as askTls } from 'node:https'
import { pipeline } from 'node:stream'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'

/** To reach the gateway; the answer then takes what it takes. */
const CONNECT_MS = 5000

/** Shown by requests that were passed on, so that one that comes back here is known. */
export const PASSED_ON_HEADER = 'x-skein-passed-on'

/** Of one connection and not of what is asked. Whom a request is for, and which site made it, was looked at here. */
const OWN_OF_CONNECTION = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding'],
  ...['upgrade', 'host', 'origin', 'referer', 'cookie'],
]

type Headers = Readonly<Record<string, string | string[] | undefined>>

function passedOn(headers: Headers): Record<string, string | string[]> {
  const named = String(headers['connection'] ?? '').toLowerCase()
  const dropped = new Set([...OWN_OF_CONNECTION, ...named.split(',').map((name) => name.trim())])
  return Object.fromEntries(
    Object.entries(headers).filter((entry): entry is [string, string | string[]] => {
      const [name, value] = entry
      return value !== undefined && !dropped.has(name)
    }),
  )
}

export interface PassingComponents {
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Passes `incoming` on to `gateway` and its answer back to `outgoing`. Both sides wait for each other, and the end of one
 * is the end of the other.
 *
 * @returns once the answer has begun, or either side has gone.
 * @throws SkeinError COORDINATOR_UNREACHABLE; HOPS_EXCEEDED for what was passed on before.
 */
export function passOn(
  { clock, log }: PassingComponents,
  gateway: URL,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  if (incoming.headers[PASSED_ON_HEADER] !== undefined)
    throw new SkeinError('HOPS_EXCEEDED', `${gateway.origin} is the page of a node, and no coordinator's gateway`)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const options: RequestOptions = {
    method: incoming.method,
    headers: { ...passedOn(incoming.headers), host: gateway.host, [PASSED_ON_HEADER]: '1' },
  }
  // the path is not resolved against anything: what came is what is asked
  const asked = (gateway.protocol === 'https:' ? askTls : askPlain)({
    ...options,
    hostname: gateway.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: gateway.port === '' ? (gateway.protocol === 'https:' ? 443 : 80) : Number(gateway.port),
    path: incoming.url,
  })
  const unreachable = (cause: Error): SkeinError =>
    new SkeinError(
      'COORDINATOR_UNREACHABLE',
      `the coordinator at ${gateway.origin} does not answer: ${cause.message}`,
      {
        cause,
        retryAfterSeconds: 2,
      },
    )
  const cancel = clock.timer(CONNECT_MS, () => asked.destroy(new SkeinError('DIAL_FAILED', 'no connection in time')))
  asked.once('socket', (socket) => {
    if (!socket.connecting) cancel()
    else socket.once(gateway.protocol === 'https:' ? 'secureConnect' : 'connect', cancel)
  })
  asked.once('response', (answer) => {
    cancel()
    outgoing.writeHead(answer.statusCode ?? 502, answer.statusMessage, passedOn(answer.headers))
    // the beginning of a stream is told at once: its first event may be a while
    outgoing.flushHeaders()
    pipeline(answer, outgoing, (error) => {
      if (error) log.debug({ err: error }, 'an answer ended early')
    })
    resolve()
  })
  asked.once('error', (error) => {
    cancel()
    // of an answer that has begun, `pipeline` tells both sides
    if (outgoing.headersSent) outgoing.destroy()
    else reject(unreachable(error))
  })
  // who asked has gone: nothing more is made for them
  outgoing.once('close', () => {
    cancel()
    asked.destroy()
    resolve()
  })
  pipeline(incoming, asked, () => undefined)
  return promise
}

/**
 * How long a body may take to arrive. Node knows one time for all requests; an upload needs longer than a question, so that
 * Node's is the longest of them and each request has its own here.
 */
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../mesh/runtime/index.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** From the headers to the end of the body; `GatewayLimits.requestMs` when absent. */
    bodyMs?: number
  }
}

/** As Node says that a request took too long: who answers that answers this. */
const TOO_SLOW = { code: 'ERR_HTTP_REQUEST_TIMEOUT' } as const

/** Ends requests whose body does not arrive in time, as Node ends those that are late for it. */
export function boundBodies(app: FastifyInstance, clock: Clock, usualMs: number): void {
  app.addHook('onRequest', ({ raw, routeOptions, headers }, reply, done) => {
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
    if (hasBody) {
      const cancel = clock.timer(routeOptions.config.bodyMs ?? usualMs, () => {
        if (!raw.complete) app.server.emit('clientError', TOO_SLOW, raw.socket)
      })
      raw.once('end', cancel)
      // what is refused unread is answered when the rest was read away, or not at all
      reply.raw.once('close', cancel)
    }
    done()
  })
}

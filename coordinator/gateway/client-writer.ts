/**
 * The way to the client's socket. A client that takes nothing for too long while bytes wait is given up: its answer would
 * hold memory, and a slot of an engine, for nobody.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { Clock } from '../../mesh/runtime/index.ts'

export interface ClientWriterInit {
  readonly clock: Clock
  readonly stallMs: number
  /** Called when nothing was taken for `stallMs`; is expected to destroy the response. */
  readonly onStall: () => void
}

/**
 * Takes a successful reply out of the framework's hands, with the headers that were set on it, to be written piece by piece.
 * False when its client has gone.
 */
export function takeReply(reply: FastifyReply): boolean {
  reply.hijack()
  // its socket may end at any time; the writer looks at `destroyed`, and an error event nobody hears ends the process
  reply.raw.on('error', () => undefined)
  if (reply.raw.destroyed) return false
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value)
  reply.raw.writeHead(200)
  return true
}

/** Resolves when `response` emits `event` or is closed; calls `onStall` when neither came in time. */
export function untilTaken(response: ServerResponse, event: 'drain' | 'finish', init: ClientWriterInit): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      cancel()
      response.off(event, settle)
      response.off('close', settle)
      resolve()
    }
    const cancel = init.clock.timer(init.stallMs, () => {
      init.onStall()
      settle()
    })
    response.once(event, settle)
    response.once('close', settle)
  })
}

/** A sink that writes each piece at once, waits while the client is behind, and ends the response after the last. */
export function toClient(response: ServerResponse, init: ClientWriterInit) {
  return async (pieces: AsyncIterable<string | Uint8Array>): Promise<void> => {
    for await (const piece of pieces) {
      if (response.destroyed) return
      if (!response.write(piece)) await untilTaken(response, 'drain', init)
    }
    if (response.destroyed) return
    response.end()
    if (!response.writableFinished) await untilTaken(response, 'finish', init)
  }
}

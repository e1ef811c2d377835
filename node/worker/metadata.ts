/** What the provider of a machine tells the machine itself, at an address of its own. Bounded, and never through a proxy. */
import { request as httpRequest } from 'node:http'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'

/** On the machine's own link; beyond it the service is not there. */
const BOUND_MS = 2000
const TEXT_BYTES_MAX = 64 * 1024

export interface MetadataAnswer {
  readonly status: number
  readonly text: string
  /** Of the service, in ms since 1970; absent when it does not say. */
  readonly sentAtMs?: number
}

export interface MetadataAsk {
  readonly method?: 'GET' | 'PUT'
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** @throws SkeinError CLOUD_UNAVAILABLE when nothing whole comes in time; the signal's reason. */
export function askMetadata(clock: Clock, url: string, ask: MetadataAsk): Promise<MetadataAnswer> {
  const { method = 'GET', headers = {}, signal } = ask
  const late = (): SkeinError => new SkeinError('CLOUD_UNAVAILABLE', `${url}: no answer within ${BOUND_MS} ms`)
  return withDeadline(
    clock,
    BOUND_MS,
    late,
    signal,
    (both) =>
      new Promise((resolve, reject) => {
        const failed = (cause: Error): void => {
          if (both.aborted) return reject(both.reason as Error)
          const isOurs = cause instanceof SkeinError
          reject(isOurs ? cause : new SkeinError('CLOUD_UNAVAILABLE', `${url}: ${cause.message}`, { cause }))
        }
        const request = httpRequest(url, { method, headers, agent: false, signal: both })
        request.on('error', failed)
        request.on('response', (response) => {
          let text = ''
          response.setEncoding('latin1')
          response.on('data', (part: string) => {
            text += part
            if (text.length > TEXT_BYTES_MAX)
              response.destroy(new SkeinError('CLOUD_UNAVAILABLE', `${url}: more than ${TEXT_BYTES_MAX} bytes`))
          })
          response.on('error', failed)
          response.on('end', () => {
            const sentAtMs = Date.parse(response.headers.date ?? '')
            resolve({ status: response.statusCode ?? 0, text, ...(!Number.isNaN(sentAtMs) && { sentAtMs }) })
          })
        })
        request.end()
      }),
  )
}

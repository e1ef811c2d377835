/** A gateway on a real socket over the twin, and a client that speaks bytes. */
import { connect, type Socket } from 'node:net'
import type { Access } from '../../coordinator/access/index.ts'
import type { MeshService } from '../../coordinator/admission/index.ts'
import {
  createGateway,
  type Gateway,
  type GatewayFacts,
  type GatewayInit,
  type GatewayMetrics,
} from '../../coordinator/gateway/index.ts'
import type { Devices } from '../../coordinator/devices/index.ts'
import type { Mailboxes } from '../../coordinator/mailbox/index.ts'
import { GREEDY, LIMITS } from '../../mesh/protocol/index.ts'
import type { Page } from '../../mesh/page/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import type { Engine } from '../../node/engines/index.ts'
import { accessOf } from '../fixtures/access.ts'
import { end, MeshServiceTwin, started, tokens, type TwinScript } from '../fixtures/mesh-service-twin.ts'

export interface RunningGateway {
  readonly twin: MeshServiceTwin
  readonly gateway: Gateway
  readonly port: number
}

/** What a test says of its gateway; without `apiKey` and `access` it is open. */
export type StartInit = Partial<GatewayInit> & {
  readonly apiKey?: string
  readonly access?: Access
  readonly metrics?: (facts: GatewayFacts, service: MeshService) => GatewayMetrics
  readonly devices?: Devices
  readonly page?: Page
  readonly mailboxes?: Mailboxes
}

export async function startGateway({
  apiKey,
  access = accessOf(apiKey),
  metrics,
  devices,
  page,
  mailboxes,
  ...init
}: StartInit = {}): Promise<RunningGateway> {
  const twin = new MeshServiceTwin()
  const components = { service: twin, access, clock: new SystemClock(), random: new SystemRandom(), log: silentLogger }
  const measured = metrics && { metrics: (facts: GatewayFacts) => metrics(facts, twin) }
  const gateway = createGateway(
    { ...components, ...measured, ...(devices && { devices }), ...(page && { page }), ...(mailboxes && { mailboxes }) },
    { host: '127.0.0.1', port: 0, ...init },
  )
  await gateway.start()
  return { twin, gateway, port: Number(new URL(gateway.url).port) }
}

/** A connection that collects what it is sent. */
export class RawClient {
  readonly socket: Socket
  readonly closed: Promise<void>
  #received = ''
  #wake: (() => void) | undefined
  #isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text) => {
      this.#received += String(text)
      this.#wake?.()
    })
    // a reset is an end that some of these tests provoke
    socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true
        this.#wake?.()
        resolve()
      })
    })
  }

  static connect(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawClient(socket))
      })
    })
  }

  get received(): string {
    return this.#received
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(bytes)
    return this
  }

  /** Resolves with all that came once `pattern` is in it, or the connection is closed. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#received) && !this.#isClosed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#received
  }
}

/** A request as bytes, with a body of JSON when one is given. */
export function bytesOf(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): string {
  const json = body === undefined ? '' : JSON.stringify(body)
  const all: Record<string, string> = { host: 'localhost', ...headers }
  if (body !== undefined)
    Object.assign(all, { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(json)}` })
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${json}`
}

export const CHAT = { model: 'tiny', messages: [{ role: 'user' as const, content: 'hi' }] }
export const chatBytes = (extra: object = {}): string => bytesOf('POST', '/v1/chat/completions', { ...CHAT, ...extra })

/** Each task as an attempt on `engine`, without a mesh between. */
export function engineScript(engine: Engine): TwinScript {
  let attempts = 0
  return async function* ({ request, signal }) {
    const { sampling, maxTokens = 200, prompt, stop, format, logprobs } = request
    yield started()
    const events = engine.generate(
      {
        id: `attempt-${++attempts}`,
        prompt,
        stop,
        sampling: { ...GREEDY, seed: 1, ...sampling },
        maxTokens: Math.min(maxTokens, LIMITS.generatedTokensMax),
        generated: [],
        ...(format && { format }),
        ...(logprobs !== undefined && { logprobs }),
      },
      signal,
    )
    for await (const event of events) {
      if (event.type === 'tokens') yield tokens(event.index, event.text, event.ids.length, event.logprobs)
      if (event.type !== 'end') continue
      const { text, usage, finishReason, stopIndex } = event
      yield { ...end(text, usage, 1, finishReason), ...(stopIndex !== undefined && { stopIndex }) }
    }
  }
}

/** A gateway over the twin, asked without sockets, in hand-moved time. */
import type { LightMyRequestResponse } from 'fastify'
import type { Access } from '../../../coordinator/access/index.ts'
import { Batches } from '../../../coordinator/batches/index.ts'
import { Devices, MemoryDeviceStore } from '../../../coordinator/devices/index.ts'
import {
  createGateway,
  type GatewayInit,
  type LeaseDesk,
  type ModelAdministration,
  type RequestTraces,
} from '../../../coordinator/gateway/index.ts'
import type { HttpGateway } from '../../../coordinator/gateway/gateway.ts'
import { ManualClock, SeededRandom, silentLogger, type Logger } from '../../../mesh/runtime/index.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { accessOf } from '../../fixtures/access.ts'
import { MeshServiceTwin } from '../../fixtures/mesh-service-twin.ts'

export interface Harness {
  readonly twin: MeshServiceTwin
  readonly clock: ManualClock
  readonly access: Access
  readonly gateway: HttpGateway
  post(url: string, body: unknown, headers?: Record<string, string>): Promise<LightMyRequestResponse>
  get(url: string, headers?: Record<string, string>): Promise<LightMyRequestResponse>
  chat(extra?: object): Promise<LightMyRequestResponse>
}

/** What a test says of its gateway; without `apiKey` it is open. */
export type HarnessInit = Partial<GatewayInit> & {
  readonly apiKey?: string
  readonly traces?: RequestTraces
  readonly models?: ModelAdministration
  readonly leases?: LeaseDesk
}

export function createHarness(
  { apiKey, traces, models, leases, ...rest }: HarnessInit = {},
  log: Logger = silentLogger,
): Harness {
  const twin = new MeshServiceTwin()
  const clock = new ManualClock()
  const access = accessOf(apiKey, clock)
  const random = new SeededRandom(1)
  const store = new MemoryLedger({ clock }, { commitMs: 0 })
  // not started: there are their addresses, and nothing behind them
  const batches = new Batches({ clock, random, log, store }, { directory: '', diskBytesMax: 0 })
  const devices = new Devices({ clock, random, log, store: new MemoryDeviceStore() })
  const gateway = createGateway(
    {
      service: twin,
      access,
      clock,
      random,
      log,
      batches,
      devices,
      ...(traces && { traces }),
      ...(models && { models }),
      ...(leases && { leases }),
    },
    { host: '127.0.0.1', port: 0, ...rest },
  ) as HttpGateway
  const post: Harness['post'] = (url, body, headers = {}) =>
    gateway.app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json', ...headers },
      payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
    })
  const get: Harness['get'] = (url, headers = {}) => gateway.app.inject({ method: 'GET', url, headers })
  const chat: Harness['chat'] = (extra = {}) => post('/v1/chat/completions', { ...CHAT, ...extra })
  return { twin, clock, access, gateway, post, get, chat }
}

export const CHAT = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }] }

/** Lets everything happen that waits for nothing but the event loop. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** The `data:` payloads of a stream, parsed; `[DONE]` as it stands. */
export const events = (body: string): unknown[] =>
  sent(body).map(({ data }) => (data === '[DONE]' ? data : JSON.parse(data)))

export const comments = (body: string): string[] =>
  body
    .split('\n\n')
    .filter((event) => event.startsWith(': '))
    .map((event) => event.slice(2))

/** One server-sent event. */
export interface SentEvent {
  readonly id: number | undefined
  readonly name: string | undefined
  readonly data: string
}

/** The events of a stream with their ids and names, comments left out. */
export function sent(body: string): SentEvent[] {
  const field = (event: string, name: string): string | undefined =>
    event
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  return body
    .split('\n\n')
    .filter((event) => event !== '' && !event.startsWith(':'))
    .map((event) => {
      const id = field(event, 'id')
      return { id: id === undefined ? undefined : Number(id), name: field(event, 'event'), data: field(event, 'data')! }
    })
}

/** The text that a stream of chat chunks tells. */
export const chatText = (body: string): string =>
  events(body)
    .map((event) => (event as { choices?: [{ delta: { content?: string } }?] }).choices?.[0]?.delta.content ?? '')
    .join('')

/** A gateway over the twin, asked without sockets, in hand-moved time. */
import type { LightMyRequestResponse } from 'fastify'
import { createGateway, type GatewayInit } from '../../../coordinator/gateway/index.ts'
import type { HttpGateway } from '../../../coordinator/gateway/gateway.ts'
import { ManualClock, SeededRandom, silentLogger, type Logger } from '../../../mesh/runtime/index.ts'
import { MeshServiceTwin } from '../../fixtures/mesh-service-twin.ts'

export interface Harness {
  readonly twin: MeshServiceTwin
  readonly clock: ManualClock
  readonly gateway: HttpGateway
  post(url: string, body: unknown, headers?: Record<string, string>): Promise<LightMyRequestResponse>
  get(url: string, headers?: Record<string, string>): Promise<LightMyRequestResponse>
  chat(extra?: object): Promise<LightMyRequestResponse>
}

export function createHarness(init: Partial<GatewayInit> = {}, log: Logger = silentLogger): Harness {
  const twin = new MeshServiceTwin()
  const clock = new ManualClock()
  const gateway = createGateway(
    { service: twin, clock, random: new SeededRandom(1), log },
    { host: '127.0.0.1', port: 0, ...init },
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
  return { twin, clock, gateway, post, get, chat }
}

export const CHAT = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }] }

/** The `data:` payloads of a stream, parsed; `[DONE]` as it stands. */
export function events(body: string): unknown[] {
  return body
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice('data: '.length))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)))
}

export const comments = (body: string): string[] =>
  body
    .split('\n\n')
    .filter((event) => event.startsWith(': '))
    .map((event) => event.slice(2))

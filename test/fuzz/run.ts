/** Sends the requests of a seed to a gateway, and holds each answer against what the document announces. */
import { Agent, request, type IncomingMessage } from 'node:http'
import type { ApiDocument, ApiOperation } from '../fixtures/api-document.ts'
import { requestOf, type FuzzRequest, type GenerateInit } from './generate.ts'

export interface FuzzInit {
  /** Such as `http://127.0.0.1:7337`. */
  readonly url: string
  readonly key: string
  readonly model: string
  readonly document: ApiDocument
  readonly seed: number
  readonly from: number
  readonly requests: number
  /** Requests at a time. */
  readonly parallel: number
  /** Of operations whose name has this in it. */
  readonly only?: string
  /** Told of each request before it is sent. */
  readonly onRequest?: (index: number, request: FuzzRequest) => void
}

export interface Finding {
  readonly index: number
  readonly operation: string
  readonly flaw: string
}

export interface FuzzResult {
  readonly findings: readonly Finding[]
  /** Answers by the hundreds of their status. */
  readonly answers: Readonly<Record<string, number>>
  /** Streams that were left, since they had no end in time. */
  readonly left: number
  readonly operations: number
}

/** A stream is read for so long; one of events has no end. */
const READ_MS = 10_000
const EVENTS_READ_MS = 50
const BODY_BYTES_MAX = 4 * 1024 * 1024
const IDS_MAX = 64

interface Heard {
  readonly status: number
  readonly type: string | undefined
  readonly requestId: string | undefined
  readonly body: string
  readonly isWhole: boolean
}

export async function fuzz(init: FuzzInit): Promise<FuzzResult> {
  const { document, seed, from, requests, parallel, only = '', url } = init
  const operations = document.operations.filter(({ name }) => name.includes(only))
  const ids: string[] = []
  const generate: GenerateInit = { ...init, operations, knownId: () => ids.at(-1) }
  const agent = new Agent({ keepAlive: true, maxSockets: parallel })
  const findings: Finding[] = []
  const answers: Record<string, number> = {}
  let left = 0
  let next = from

  const one = async (index: number): Promise<void> => {
    const fuzzed = requestOf(generate, seed, index)
    const { operation } = fuzzed
    init.onRequest?.(index, fuzzed)
    try {
      const heard = await send(new URL(url), agent, fuzzed)
      const kind = `${Math.floor(heard.status / 100)}xx`
      answers[kind] = (answers[kind] ?? 0) + 1
      if (!heard.isWhole) left++
      const flaw = flawOf(document, operation, heard)
      if (flaw !== undefined) findings.push({ index, operation: operation.name, flaw })
      for (const [id] of heard.body.matchAll(/\b(?:task|resp|msg|key|file|batch)[_:-][A-Za-z0-9]{20,}\b/g))
        if (ids.push(id) > IDS_MAX) ids.shift()
    } catch (error) {
      findings.push({ index, operation: operation.name, flaw: `no answer: ${String(error)}` })
    }
  }
  const worker = async (): Promise<void> => {
    while (next < from + requests) await one(next++)
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  agent.destroy()
  return { findings, answers, left, operations: operations.length }
}

function flawOf(document: ApiDocument, operation: ApiOperation, heard: Heard): string | undefined {
  if (heard.status >= 300 && heard.status < 400) return `${heard.status}: nothing is elsewhere`
  if (heard.requestId === undefined) return `${heard.status} without x-request-id`
  // what was left has no end that could be looked at
  if (!heard.isWhole) return undefined
  return document.flawOf(operation, heard)
}

function send({ hostname, port }: URL, agent: Agent, { operation, path, headers, body }: FuzzRequest): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const { method } = operation
    const sent = request({ hostname, port, agent, method, path, headers: { ...headers, ...length } }, (response) => {
      // in their middle all streams are of one form: nothing to be read behind the time
      hear(response, operation.path.endsWith('/events') ? EVENTS_READ_MS : READ_MS).then(resolve, reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function hear(response: IncomingMessage, readMs: number): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const { statusCode: status = 0, headers } = response
    const chunks: Buffer[] = []
    let bytes = 0
    const settle = (isWhole: boolean): void => {
      clearTimeout(timer)
      const requestId = headers['x-request-id'] as string | undefined
      resolve({ status, type: headers['content-type'], requestId, body: Buffer.concat(chunks).toString(), isWhole })
      if (!isWhole) response.destroy()
    }
    const timer = setTimeout(() => settle(false), readMs)
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > BODY_BYTES_MAX) settle(false)
    })
    response.on('end', () => settle(true))
    response.on('error', reject)
  })
}

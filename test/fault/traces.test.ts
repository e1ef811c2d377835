/** One trace over a killed node: in from the client, out to a collector, and the same ids in the logs of all processes. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OtlpCollector, type CollectedSpan } from '../fixtures/otlp-collector.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const SAID = 'canaryprompt'
const TOKENS = 240
const NODES = ['one', 'two']

let folder: string
let collector: OtlpCollector
let mesh: FaultMesh
const logOf = (name: string): string => join(folder, `${name}.log`)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-traces-'))
  collector = await OtlpCollector.start()
  const watched = (name: string): string[] => {
    const log = ['--log-level', 'debug', '--log-file', logOf(name)]
    return ['--otlp', collector.url, ...log]
  }
  mesh = await FaultMesh.start({
    coordinatorArgs: watched('coordinator'),
    nodes: NODES.map((name) => ({ name, args: ['--model', 'echo:paced?tps=60', ...watched(name)] })),
  })
})
afterAll(async () => {
  await mesh?.stop()
  await collector.stop()
  await rm(folder, { recursive: true, force: true })
})

const linesOf = async (name: string): Promise<Record<string, unknown>[]> =>
  (await readFile(logOf(name), 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('a trace', () => {
  it('has the request, both attempts with their link, and the node that ended it, when a node is killed', async () => {
    const response = await fetch(`${mesh.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${TRACE}-${PARENT}-01` },
      body: JSON.stringify({
        model: 'paced',
        stream: true,
        max_tokens: TOKENS,
        messages: [{ role: 'user', content: `${SAID} flies` }],
      }),
    })
    expect(response.headers.get('traceparent')).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`))
    const taskId = response.headers.get('x-skein-task')!
    const killed = response.headers.get('x-skein-node')!
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      // in mid-answer
      if (!text.includes(SAID) && chunk.includes(SAID)) mesh.node(killed).child.kill('SIGKILL')
      text += chunk
    }
    expect(text).toContain('data: [DONE]')

    const own = (): CollectedSpan[] => collector.spans.filter(({ traceId }) => traceId === TRACE)
    const survivor = NODES.find((name) => name !== killed)!
    await eventually(
      'the spans are there',
      () =>
        Promise.resolve(
          ['chat paced', 'skein.node.attempt'].every((name) => own().some((s) => s.name === name)) || undefined,
        ),
      20_000,
    )
    const [request, ...others] = own().filter(({ name }) => name === 'chat paced')
    expect(others).toEqual([])
    expect(request).toMatchObject({
      parentSpanId: PARENT,
      kind: 2,
      status: { code: 0 },
      attributes: { 'skein.attempts': 2, 'gen_ai.usage.output_tokens': TOKENS, 'http.response.status_code': 200 },
    })
    const attempts = own()
      .filter(({ name }) => name === 'skein.attempt')
      .sort((a, b) => a.startMs - b.startMs)
    expect(attempts).toMatchObject([
      {
        parentSpanId: request!.spanId,
        links: [],
        status: { code: 2 },
        attributes: { 'skein.outcome': 'lost', 'skein.node.name': killed },
      },
      {
        parentSpanId: request!.spanId,
        links: [{ traceId: TRACE, spanId: attempts[0]!.spanId }],
        status: { code: 0 },
        attributes: { 'skein.outcome': 'completed', 'skein.node.name': survivor, 'skein.reason': 'lost' },
      },
    ])
    const tokens = attempts.map(({ attributes }) => Number(attributes['gen_ai.usage.output_tokens']))
    expect(tokens[0]! + tokens[1]!).toBe(TOKENS)
    // that of the killed node died with it
    const atNodes = own().filter(({ name }) => name === 'skein.node.attempt')
    expect(atNodes).toMatchObject([
      {
        parentSpanId: attempts[1]!.spanId,
        sender: { 'service.instance.id': survivor },
        attributes: { 'skein.task.id': taskId },
      },
    ])
    expect(atNodes[0]!.events.map(({ name }) => name)).toEqual(['prefill', 'decode'])
    for (const body of collector.bodies) expect(body).not.toContain(SAID)

    const requestId = response.headers.get('x-request-id')
    for (const name of ['coordinator', ...NODES]) {
      const lines = (await linesOf(name)).filter((line) => line['task'] === taskId)
      expect(lines.length, name).toBeGreaterThan(0)
      for (const line of lines) expect(line, name).toMatchObject({ request: requestId, trace: TRACE })
      if (name !== 'coordinator') for (const line of lines) expect(line['attempt'], name).toBe(name === killed ? 1 : 2)
    }
  })
})

/**
 * What `test/bench/gateway.ts` measures the gateway against: the least that can stream an engine's tokens to an OpenAI
 * client. One route of Fastify, and the echo engine in the same process; no keys, no ledger, no mesh, no checks.
 *
 * `node test/bench/gateway-server.ts SLOTS LABEL…` prints the port that it listens on.
 */
import { randomUUID } from 'node:crypto'
import Fastify from 'fastify'
import { GREEDY } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, echoDigest, type Engine } from '../../node/index.ts'
import { print } from './stats.ts'

interface Body {
  readonly model: string
  readonly max_tokens: number
  readonly messages: { role: 'user'; content: string }[]
}

const [slots, ...labels] = process.argv.slice(2)
const engines = new Map<string, Engine>()
for (const label of labels) {
  const engine = createEngine('echo', { clock: new SystemClock(true), log: silentLogger })
  await engine.load({ path: label, digest: echoDigest(label), slots: Number(slots) })
  engines.set(label.slice('echo:'.length).split('?')[0]!, engine)
}

const server = Fastify()
server.post<{ Body: Body }>('/v1/chat/completions', async ({ body }, reply) => {
  const { model, messages, max_tokens: maxTokens } = body
  const id = randomUUID()
  const head = { id: `chatcmpl-${id}`, object: 'chat.completion.chunk', created: Math.floor(Date.now() / 1000), model }
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })}\n\n`
  const gone = new AbortController()
  reply.hijack()
  reply.raw.on('close', () => gone.abort())
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  reply.raw.write(chunk({ role: 'assistant', content: '' }, null))
  const sampling = { ...GREEDY, seed: 1 }
  const request = { id, prompt: { kind: 'chat' as const, messages }, sampling, stop: [], maxTokens, generated: [] }
  try {
    for await (const event of engines.get(model)!.generate(request, gone.signal)) {
      if (event.type === 'tokens') reply.raw.write(chunk({ content: event.text }, null))
      if (event.type === 'end') reply.raw.end(`${chunk({}, 'length')}data: [DONE]\n\n`)
    }
  } catch (error) {
    if (!gone.signal.aborted) reply.raw.destroy(error as Error)
  }
})
await server.listen({ host: '127.0.0.1', port: 0 })
print(String((server.server.address() as { port: number }).port))

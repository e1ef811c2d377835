/** An upstream server that tells an answer in channels as its model writes it: its text is as the llama engine's. */
import { afterEach, expect, it } from 'vitest'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { UpstreamEngine, upstreamPath } from '../../node/engines/index.ts'
import { collect, request } from '../compliance/engine.suite.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { FakeServer, streamOf } from '../fixtures/upstream/fake-server.ts'

const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

it('has its thought between marks, also when it was begun elsewhere', async () => {
  const path = await ensureModel('tools-channels')
  const thought = '<|channel|>analysis<|message|>The river'
  const said = '<|end|><|start|>assistant<|channel|>final<|message|>The geese'
  // ids of single bytes, which the fixtures' vocabularies begin with
  const ids = [...Buffer.from(thought + said)]
  const server = await FakeServer.start({
    '/v1/models': { data: [{ id: 'm', owned_by: 'llamacpp' }] },
    '/props': { default_generation_settings: { n_ctx: 512 }, total_slots: 1, model_path: path },
    '/completion': streamOf([
      ...ids.map((id) => ({ content: String.fromCharCode(id), tokens: [id], stop: false })),
      { content: '', stop: true, stop_type: 'eos' },
    ]),
  })
  cleanups.push(() => server.stop())
  const components = { clock: new SystemClock(), log: silentLogger }
  const upstream = new UpstreamEngine(components)
  cleanups.push(() => upstream.unload())
  await upstream.load({ path: upstreamPath({ url: server.url, model: 'm', weights: path }), digest, slots: 1 })
  const whole = await collect(upstream.generate(request({ maxTokens: 200 }), never))
  expect(whole.text).toBe('<think>\nThe river\n</think>\n\nThe geese')
  expect(whole.ids).toEqual(ids)

  // begun elsewhere within the thought, it is gone on with as what it was there
  const begun = Buffer.from(thought).length
  const rest = await collect(upstream.generate(request({ generated: ids.slice(0, begun), maxTokens: 200 }), never))
  expect(rest.text.startsWith('<|channel|>analysis')).toBe(true)
  expect(rest.text).not.toContain('<think>')
}, 60_000)

/** The upstream engine on real servers (docs/UPSTREAM.md says where they are looked for). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, upstreamPath, type Engine } from '../../node/engines/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { hasServer, startServer, type StartedServer } from '../fixtures/upstream/servers.ts'
import { codeOf, collect, engineSuite, request, SUITE_CONTEXT_TOKENS, SUITE_SLOTS } from './engine.suite.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal

it('has the server that CI must have', () => {
  if (process.env['CI'] === 'true') expect(hasServer('llama-server'), 'an interpreter with xllamacpp').toBe(true)
})

describe.skipIf(!hasServer('llama-server'))('on llama-server', () => {
  let server: StartedServer
  let model: string

  beforeAll(async () => {
    model = await ensureModel('tiny')
    server = await startServer('llama-server', { model, slots: SUITE_SLOTS, contextTokens: SUITE_CONTEXT_TOKENS })
  }, 120_000)
  afterAll(() => server.kill())

  const load = (engine: Engine) =>
    engine.load({
      path: upstreamPath({ url: server.url, model, weights: model }),
      digest,
      slots: SUITE_SLOTS,
      contextTokens: SUITE_CONTEXT_TOKENS,
    })

  engineSuite({
    name: 'upstream, by token ids',
    isExact: false,
    hasOutputs: false,
    make: () => createEngine('upstream', components),
    load,
  })

  it('makes the tokens that the llama engine makes of the same weights', async () => {
    const upstream = createEngine('upstream', components)
    const llama = createEngine('llama', components)
    try {
      await load(upstream)
      await llama.load({ path: model, digest, slots: 1, contextTokens: SUITE_CONTEXT_TOKENS, threads: 1 })
      const [theirs, ours] = await Promise.all([
        collect(upstream.generate(request(), never)),
        collect(llama.generate(request(), never)),
      ])
      expect(theirs.usage.promptTokens).toBe(ours.usage.promptTokens)
      expect(theirs.ids).toEqual(ours.ids)
      expect(theirs.text).toBe(ours.text)
      for (const [from, to] of [
        [upstream, llama],
        [llama, upstream],
      ] as const) {
        const begun = await collect(from.generate(request({ maxTokens: 17 }), never))
        const rest = await collect(to.generate(request({ generated: begun.ids }), never))
        expect([...begun.ids, ...rest.ids]).toEqual(ours.ids)
        expect(rest.indices[0]).toBe(17)
      }
    } finally {
      await Promise.all([upstream.unload(), llama.unload()])
    }
  }, 60_000)

  it('goes on behind its text where its weights are not known', async () => {
    const engine = createEngine('upstream', components)
    try {
      await engine.load({ path: upstreamPath({ url: server.url, model }), digest, slots: SUITE_SLOTS })
      for (const prompt of [request().prompt, { kind: 'text' as const, text: 'the geese' }]) {
        const whole = await collect(engine.generate(request({ prompt }), never))
        const begun = whole.ids.slice(0, 12)
        const rest = await collect(engine.generate(request({ prompt, generated: begun }), never))
        expect(rest.indices[0]).toBe(12)
        expect(rest.text.length).toBeGreaterThan(0)
        expect(whole.text.endsWith(rest.text.slice(0, 20)) || whole.text.includes(rest.text.slice(0, 20))).toBe(true)
      }
    } finally {
      await engine.unload()
    }
  })

  it('refuses what it does not do', async () => {
    const engine = createEngine('upstream', components)
    try {
      expect((await load(engine)).features).toEqual([])
      const ask = (overrides: object) => codeOf(collect(engine.generate(request(overrides), never)))
      expect(await ask({ format: { kind: 'json' } })).toBe('INVALID_REQUEST')
      expect(await ask({ logprobs: 1 })).toBe('INVALID_REQUEST')
      expect(await codeOf(engine.work!({ id: 'w', work: { kind: 'embed', texts: ['a'] } }, never))).toBe(
        'INVALID_REQUEST',
      )
    } finally {
      await engine.unload()
    }
  })
})

describe.skipIf(!hasServer('llama-cpp-python'))("on llama-cpp-python's server", () => {
  let server: StartedServer
  let model: string
  let llama: Engine
  const upstream = createEngine('upstream', components)

  beforeAll(async () => {
    model = await ensureModel('tiny')
    server = await startServer('llama-cpp-python', { model, slots: 1, contextTokens: SUITE_CONTEXT_TOKENS })
    llama = createEngine('llama', components)
    await llama.load({ path: model, digest, slots: 1, contextTokens: SUITE_CONTEXT_TOKENS, threads: 1 })
  }, 120_000)
  afterAll(async () => {
    await Promise.all([upstream.unload(), llama?.unload()])
    await server?.kill()
  })

  it('learns its context and what it can do', async () => {
    const path = upstreamPath({ url: server.url, model, weights: model })
    const loaded = await upstream.load({ path, digest, slots: SUITE_SLOTS })
    expect(loaded).toMatchObject({ contextTokens: SUITE_CONTEXT_TOKENS, slots: 1, features: [] })
    expect(loaded.numerics.engineBuild).toMatch(/^llama-cpp-python .*, by text$/)
  })

  it('makes the tokens that the llama engine makes of the same weights, though it tells text alone', async () => {
    const ours = await collect(llama.generate(request({ maxTokens: 120 }), never))
    const theirs = await collect(upstream.generate(request({ maxTokens: 120 }), never))
    expect(theirs.usage.promptTokens).toBe(ours.usage.promptTokens)
    expect(theirs.text).toBe(ours.text)
    expect(theirs.ids).toEqual(ours.ids)
    for (const position of [1, 17, 60]) {
      const rest = await collect(
        upstream.generate(request({ maxTokens: 120, generated: ours.ids.slice(0, position) }), never),
      )
      expect(rest.indices[0]).toBe(position)
      expect([...ours.ids.slice(0, position), ...rest.ids]).toEqual(ours.ids)
    }
  }, 60_000)

  it('is not asked what it would read as markup', async () => {
    const messages = [{ role: 'user' as const, content: 'say <|im_end|> twice' }]
    const refused = collect(upstream.generate(request({ prompt: { kind: 'chat', messages } }), never))
    expect(await codeOf(refused)).toBe('ENGINE_FAILED')
  })
})

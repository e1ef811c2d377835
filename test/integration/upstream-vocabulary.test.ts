/** The vocabulary of a model in a process of its own: prompts, and ids for texts that a server tells without them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { readGguf, UpstreamEngine, upstreamPath } from '../../node/engines/index.ts'
import { VocabularyTokens } from '../../node/engines/upstream/vocabulary.ts'
import { processTree } from '../fault/harness/processes.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { codeOf, collect } from '../compliance/engine.suite.ts'
import { FakeServer, streamOf } from '../fixtures/upstream/fake-server.ts'

const utf8 = (text: string): Uint8Array => Buffer.from(text)

describe('the vocabulary of a model', () => {
  let tokens: VocabularyTokens

  beforeAll(async () => {
    const path = await ensureModel('tiny')
    tokens = new VocabularyTokens(silentLogger, { path, vocabularySize: (await readGguf(path)).vocabularySize })
  })
  afterAll(() => tokens.close())

  it('renders a chat to ids, and to the text that makes the same ids', async () => {
    const messages = [{ role: 'user' as const, content: 'the geese fly' }]
    const { ids, text, tokens: count } = await tokens.render({ kind: 'chat', messages })
    expect(text).toBe('<|im_start|>user\nthe geese fly<|im_end|>\n<|im_start|>assistant\n')
    expect(ids).toHaveLength(count)
  })

  it('has no text for what would be read as markup in it', async () => {
    const messages = [{ role: 'user' as const, content: 'say <|im_end|>' }]
    const { ids, text } = await tokens.render({ kind: 'chat', messages })
    expect(ids!.length).toBeGreaterThan(0)
    expect(text).toBeUndefined()
  })

  it.each([' the', 'the geese fly', 'gänse 🪿!', '\n\n', '日本語'])('finds ids that make %j', async (text) => {
    const ids = await tokens.idsOf(utf8(text))
    expect(tokens.detokenize(ids)).toBe(text)
    expect(tokens.unfinished(ids)).toHaveLength(0)
  })

  it('takes the ids that a server tells only when they make the text', async () => {
    const [whole] = await tokens.idsOf(utf8(' the'))
    const letters = await Promise.all([' ', 't', 'h', 'e'].map((letter) => tokens.idsOf(utf8(letter))))
    const split = letters.flat()
    expect(await tokens.idsOf(utf8(' the'), split)).toEqual(split)
    expect(await tokens.idsOf(utf8(' the'), split.slice(1))).toEqual([whole])
    expect(await tokens.idsOf(utf8(' the'), [10_000_000])).toEqual([whole])
  })

  it('knows a character that was begun, and makes the rest of it', async () => {
    const bytes = utf8('x🪿')
    const begun = await tokens.idsOf(bytes.subarray(0, 3))
    expect(tokens.detokenize(begun)).toBe('x\uFFFD')
    expect(Buffer.from(tokens.unfinished(begun))).toEqual(Buffer.from(bytes.subarray(1, 3)))
    const rest = await tokens.idsOf(bytes.subarray(3))
    expect(tokens.detokenize([...begun, ...rest])).toBe('x🪿')
  })

  it('begins another process when its own dies', async () => {
    const children = (await processTree(process.pid)).filter((pid) => pid !== process.pid)
    const asked = codeOf(tokens.render({ kind: 'text', text: 'x'.repeat(100_000) }))
    for (const pid of children) process.kill(pid, 'SIGKILL')
    expect(await asked).toBe('ENGINE_FAILED')
    expect((await tokens.render({ kind: 'text', text: 'the geese' })).text).toBe('the geese')
  })
})

describe('a server that takes and tells text, of a model whose vocabulary is known', () => {
  const part = (text: string, finish_reason: string | null = null) => ({ choices: [{ text, finish_reason }] })
  const never = new AbortController().signal
  let server: FakeServer
  let engine: UpstreamEngine
  let model: string

  beforeAll(async () => {
    model = await ensureModel('tiny')
    server = await FakeServer.start({
      '/v1/models': { data: [{ id: model, owned_by: 'me' }] },
      '/openapi.json': { info: { title: 'llama.cpp Python API', version: '1' } },
      '/v1/completions': (response) => {
        response.writeHead(400)
        response.end(JSON.stringify({ error: { message: "This model's maximum context length is 300 tokens" } }))
      },
    })
    engine = new UpstreamEngine({ clock: new SystemClock(), log: silentLogger })
    const path = upstreamPath({ url: server.url, model, weights: model })
    const loaded = await engine.load({ path, digest: asModelDigest(`sha256:${'0'.repeat(64)}`), slots: 4 })
    expect(loaded).toMatchObject({ contextTokens: 300, slots: 1, features: [] })
  })
  afterAll(async () => {
    await engine.unload()
    await server.stop()
  })

  const ask = (generated: readonly number[], texts: readonly string[]) => {
    const events = [...texts.map((text) => part(text)), part('', 'stop')]
    server.answers = { ...server.answers, '/v1/completions': streamOf(events) }
    const prompt = { kind: 'text' as const, text: 'the' }
    const sampling = { ...GREEDY, seed: 0xffff_ffff }
    return collect(engine.generate({ id: 'a', prompt, sampling, stop: [], maxTokens: 50, generated }, never))
  }

  it('is asked to go on in front of a character that was begun, of which it makes the rest', async () => {
    const whole = await ask([], ['a', '🪿', '!'])
    expect(whole.text).toBe('a🪿!')
    expect(server.asked.at(-1)!.body).toMatchObject({ prompt: 'the', max_tokens: 50, seed: 0xffff_fffe })
    // within the character: its tokens are bytes in this vocabulary
    expect(whole.ids).toHaveLength(6)
    const rest = await ask(whole.ids.slice(0, 3), ['🪿', '!'])
    expect(server.asked.at(-1)!.body).toMatchObject({ prompt: 'thea', max_tokens: 47 })
    expect(server.asked.at(-1)!.body['seed']).not.toBe(0xffff_fffe)
    expect(rest).toMatchObject({ text: '🪿!', finishReason: 'stop' })
    expect([...whole.ids.slice(0, 3), ...rest.ids]).toEqual(whole.ids)
    expect(await codeOf(ask(whole.ids.slice(0, 3), ['b']))).toBe('ENGINE_FAILED')
  })

  it('is not at fault for the caller when it says that the context is full', async () => {
    const { '/v1/completions': _, ...others } = server.answers
    server.answers = {
      ...others,
      '/v1/completions': (response) => {
        response.writeHead(400)
        response.end(JSON.stringify({ error: { message: 'maximum context length is 10 tokens' } }))
      },
    }
    const prompt = { kind: 'text' as const, text: 'the' }
    const request = { id: 'a', prompt, sampling: { ...GREEDY, seed: 1 }, stop: [], maxTokens: 50, generated: [] }
    expect(await codeOf(collect(engine.generate(request, never)))).toBe('ENGINE_FAILED')
  })

  it('is asked nothing when it has another model now', async () => {
    server.answers = { ...server.answers, '/v1/models': { data: [{ id: '/other.gguf', owned_by: 'me' }] } }
    const asked = server.asked.length
    expect(await codeOf(ask([], ['a']))).toBe('ENGINE_CRASHED')
    expect(server.asked.slice(asked).map(({ path }) => path)).not.toContain('/v1/completions')
  })
})

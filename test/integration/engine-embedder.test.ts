import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError, type WorkResult } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, readGguf, type LoadedModel } from '../../node/engines/index.ts'
import { codeOf, collect, request } from '../compliance/engine.suite.ts'
import { ENCODER_CONTEXT_TOKENS, encoderVector, writeEncoder } from '../fixtures/models/encoder.ts'
import { ensureModel } from '../fixtures/models/index.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-encoder-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

describe('a GGUF model that was made for embeddings', () => {
  const engine = createEngine('llama', components)
  let model: LoadedModel
  let works = 0
  const embed = async (texts: string[], dimensions?: number, signal = never): Promise<number[][]> => {
    const work = { kind: 'embed' as const, texts, ...(dimensions !== undefined && { dimensions }) }
    const result = (await engine.work!({ id: `work-${++works}`, work }, signal)) as WorkResult & { kind: 'embed' }
    return result.vectors.map((vector) => [...new Float32Array(vector.slice().buffer)])
  }
  beforeAll(async () => {
    await writeEncoder(join(dir, 'encoder.gguf'))
    model = await engine.load({ path: join(dir, 'encoder.gguf'), digest, slots: 2, threads: 1 })
  }, 60_000)
  afterAll(() => engine.unload())

  it('says so in its head, and when it is loaded', async () => {
    expect(await readGguf(join(dir, 'encoder.gguf'))).toMatchObject({ isEmbedder: true })
    expect(await readGguf(await ensureModel('tiny'))).toMatchObject({ isEmbedder: false })
    await writeEncoder(join(dir, 'ranker.gguf'), 4)
    await expect(readGguf(join(dir, 'ranker.gguf'))).rejects.toThrow(/ranker\.gguf: neither generates text nor makes/)
    expect(model).toMatchObject({
      features: ['embed'],
      isGenerator: false,
      contextTokens: ENCODER_CONTEXT_TOKENS,
      hasChatTemplate: false,
    })
  })

  it.each(['the river runs to the sea', 'goose', 'sea sea sea', 'the unknown goose leads'])(
    'gives the vector that arithmetic gives: %s',
    async (text) => {
      const [vector] = await embed([text])
      encoderVector(text).forEach((each, i) => expect(vector![i]).toBeCloseTo(each, 4))
    },
  )

  it('gives each text of several its own, in their order, and the first numbers alone', async () => {
    const texts = ['goose', 'the river', 'sea leads to the river']
    const together = await embed(texts)
    for (const [i, text] of texts.entries()) expect(together[i]).toEqual((await embed([text]))[0])
    const [short] = await embed(['goose'], 8)
    expect(Math.hypot(...short!)).toBeCloseTo(1, 5)
    expect(short).toHaveLength(8)
  })

  it('takes a text that fills its context, and refuses a longer one with both numbers', async () => {
    const words = (count: number): string => Array<string>(count).fill('sea').join(' ')
    expect(await embed([words(ENCODER_CONTEXT_TOKENS - 2)])).toHaveLength(1)
    const long = embed(['sea', words(ENCODER_CONTEXT_TOKENS - 1)])
    await expect(long).rejects.toThrow(/text 2 of 2 has 65 tokens.*64/)
    expect(await codeOf(long)).toBe('CONTEXT_LENGTH_EXCEEDED')
  })

  it('generates nothing, does no other work, and stops when it is told to', async () => {
    expect(await codeOf(collect(engine.generate(request(), never)))).toBe('INVALID_REQUEST')
    const classify = engine.work!({ id: 'c', work: { kind: 'classify', texts: ['sea'] } }, never)
    await expect(classify).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'model' })
    const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
    const controller = new AbortController()
    const running = embed(Array<string>(64).fill('the river runs to the sea'), undefined, controller.signal)
    controller.abort(reason)
    await expect(running).rejects.toBe(reason)
    expect(await embed(['sea'])).toHaveLength(1)
  })

  it('takes a model again after it was unloaded', async () => {
    await engine.unload()
    expect(await codeOf(embed(['sea']))).toBe('ENGINE_FAILED')
    await engine.load({ path: join(dir, 'encoder.gguf'), digest, slots: 2, threads: 1 })
    expect(await embed(['sea'])).toHaveLength(1)
  }, 60_000)

  it('is not what a model for text is', async () => {
    const other = createEngine('llama', components)
    await other.load({ path: await ensureModel('tiny'), digest, slots: 1, contextTokens: 256, threads: 1 })
    const work = other.work!({ id: 'x', work: { kind: 'embed', texts: ['sea'] } }, never)
    await expect(work).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'model' })
    await other.unload()
  }, 60_000)
})

/** LoRA adapters by the llama engine: what they change, by how much, and what is refused. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { ChildEngine, readGguf, type AdapterFile } from '../../node/engines/index.ts'
import { Digests, Inventory, type AdaptedModel, type ModelFile } from '../../node/models/index.ts'
import { codeOf, collect, request, type Answer } from '../compliance/engine.suite.ts'
import { writeAdapter } from '../fixtures/models/adapter.ts'
import { ensureModel } from '../fixtures/models/index.ts'

const never = new AbortController().signal
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const [WORD, OTHER] = [200, 210]

let base: string
let dir: string
let adapter: string
let other: string

beforeAll(async () => {
  base = await ensureModel('tiny')
  dir = await mkdtemp(join(tmpdir(), 'skein-adapters-'))
  adapter = join(dir, 'word.gguf')
  other = join(dir, 'other.gguf')
  await writeAdapter(adapter, { token: WORD })
  await writeAdapter(other, { token: OTHER })
}, 60_000)
afterAll(() => rm(dir, { recursive: true, force: true }))

async function answer(adapters?: readonly AdapterFile[]): Promise<Answer> {
  const engine = new ChildEngine({ engine: 'llama' }, { log: silentLogger })
  try {
    await engine.load({ path: base, digest, slots: 1, contextTokens: 512, threads: 1, ...(adapters && { adapters }) })
    const asked = request({ maxTokens: 12, logprobs: 2, sampling: { ...GREEDY, seed: 1 } })
    return await collect(engine.generate(asked, never))
  } finally {
    await engine.unload()
  }
}

describe('a model with an adapter', () => {
  it('answers otherwise, as far as the adapter is applied', async () => {
    const plain = await answer()
    expect(plain.ids).not.toContain(WORD)
    const word = Array.from({ length: 12 }, () => WORD)
    expect((await answer([{ path: adapter, scale: 1 }])).ids).toEqual(word)
    const none = await answer([{ path: adapter, scale: 0 }])
    expect(none.ids).toEqual(plain.ids)
    expect(none.logprobs).toEqual(plain.logprobs)
    // away from the word, not towards it
    const away = await answer([{ path: adapter, scale: -1 }])
    expect(away.ids).not.toContain(WORD)
    // two at once: the one that is applied more has its way
    const both = [
      { path: adapter, scale: 0.5 },
      { path: other, scale: 1 },
    ]
    expect((await answer(both)).ids).toEqual(word.map(() => OTHER))
  }, 120_000)

  it('is not loaded when the engine cannot take the adapter', async () => {
    const wide = join(dir, 'wide.gguf')
    await writeAdapter(wide, { token: WORD, width: 576, vocabulary: 49_152 })
    const refused = answer([{ path: wide, scale: 1 }])
    expect(await codeOf(refused)).toBe('MODEL_LOAD_FAILED')
  }, 60_000)
})

describe('the inventory', () => {
  const found = async (model: Partial<AdaptedModel>): Promise<{ models: ModelFile[]; problems: string[] }> => {
    const digests = await Digests.open(join(dir, 'digests.json'), silentLogger)
    const inventory = new Inventory({ digests, log: silentLogger })
    const models: ModelFile[] = []
    const asked = { name: 'pair', base, adapters: [{ path: adapter, scale: 1 }], ...model }
    for await (const file of inventory.adapted([asked], never)) models.push(file)
    return { models, problems: inventory.problems().map(({ error }) => `${error.code} ${error.message}`) }
  }

  it('makes a model of its own of a model and its adapters', async () => {
    const [pair] = (await found({})).models
    const sizes = await Promise.all([base, adapter].map(async (path) => (await readGguf(path)).sizeBytes))
    expect(pair).toMatchObject({ engine: 'llama', path: base, aliases: ['pair'], hasChatTemplate: true })
    expect(pair!.sizeBytes).toBe(sizes[0]! + sizes[1]!)
    expect(pair!.adapters).toEqual([{ path: adapter, scale: 1 }])
    const renamed = join(dir, 'renamed.gguf')
    await copyFile(adapter, renamed)
    const digestOf = async (model: Partial<AdaptedModel>): Promise<string> => (await found(model)).models[0]!.digest
    // by content and scale, whatever the names
    expect(await digestOf({ name: 'mine', adapters: [{ path: renamed, scale: 1 }] })).toBe(pair!.digest)
    expect(await digestOf({ adapters: [{ path: adapter, scale: 0.5 }] })).not.toBe(pair!.digest)
    expect(await digestOf({ adapters: [{ path: other, scale: 1 }] })).not.toBe(pair!.digest)
  }, 60_000)

  it('serves no adapter alone, and says how it is served', async () => {
    const inventory = new Inventory({
      digests: await Digests.open(join(dir, 'd.json'), silentLogger),
      log: silentLogger,
    })
    for await (const file of inventory.scan([adapter], never)) expect(file).toBeUndefined()
    const [problem] = inventory.problems()
    expect(problem!.error.code).toBe('MODEL_FILE_INVALID')
    expect(problem!.error.message).toContain(`--adapter NAME=MODEL,${adapter}`)
  })

  it('refuses what does not fit, with the numbers', async () => {
    const path = (name: string): string => join(dir, name)
    await writeAdapter(path('wide.gguf'), { token: WORD, width: 576, vocabulary: 49_152 })
    await writeAdapter(path('qwen.gguf'), { token: WORD, architecture: 'qwen2' })
    await writeAdapter(path('ia3.gguf'), { token: WORD, type: 'ia3' })
    await writeAdapter(path('absent.gguf'), { token: WORD, tensor: 'blk.9.attn_q.weight' })
    await writeAdapter(path('half.gguf'), { token: WORD, isOneSided: true })
    const cases: [Partial<AdaptedModel>, RegExp][] = [
      [
        { adapters: [{ path: path('wide.gguf'), scale: 1 }] },
        /output.weight changes 576 × 49152 weights, and the model has 320 × 320/,
      ],
      [{ adapters: [{ path: path('qwen.gguf'), scale: 1 }] }, /made for the architecture qwen2; .* is llama/],
      [{ adapters: [{ path: path('ia3.gguf'), scale: 1 }] }, /an adapter, ia3/],
      [{ adapters: [{ path: path('absent.gguf'), scale: 1 }] }, /blk.9.attn_q.weight is not in the model/],
      [{ adapters: [{ path: path('half.gguf'), scale: 1 }] }, /output.weight has one side alone/],
      [{ adapters: [{ path: base, scale: 1 }] }, /a model, and no adapter/],
      [{ base: adapter }, /an adapter, which is served with the model/],
      [{ adapters: [{ path: path('missing.gguf'), scale: 1 }] }, /there is no such file/],
    ]
    for (const [model, why] of cases) {
      const { models, problems } = await found(model)
      expect(models, String(why)).toEqual([])
      expect(problems[0]).toMatch(/^MODEL_FILE_INVALID /)
      expect(problems[0]).toMatch(why)
    }
    const many = Array.from({ length: 9 }, () => ({ path: adapter, scale: 1 }))
    expect((await found({ adapters: many })).problems[0]).toMatch(/^CONFIG_INVALID .*9 adapters.*at most 8/)
  }, 60_000)
})

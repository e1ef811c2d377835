import { copyFile, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, SkeinError, type Prompt, type Sampling } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, readGguf, type GenerationRequest } from '../../node/engines/index.ts'
import { codeOf, collect, request, started, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel, TINY_END_CHARACTER } from '../fixtures/models/index.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal
const CONTEXT_TOKENS = 4096

let path: string
let dir: string

beforeAll(async () => {
  path = await ensureModel('tiny')
  dir = await mkdtemp(join(tmpdir(), 'skein-engine-'))
}, 60_000)
afterAll(() => rm(dir, { recursive: true, force: true }))

describe('the llama engine', () => {
  const engine = createEngine('llama', components)
  beforeAll(
    () => engine.load({ path, digest, slots: 4, contextTokens: CONTEXT_TOKENS, threads: 1 }).then(() => undefined),
    60_000,
  )
  afterAll(() => engine.unload())

  const generate = (overrides: Partial<GenerationRequest>): Promise<Answer> =>
    collect(engine.generate(request(overrides), never))
  const sampling = (overrides: Partial<Sampling>): Sampling => ({ ...GREEDY, seed: 1, ...overrides })
  const chat = (content: string): Prompt => ({ kind: 'chat', messages: [{ role: 'user', content }] })

  it('ends with stop at the end-of-turn token, which is no token of the answer', async () => {
    const answer = await generate({ prompt: { kind: 'text', text: `the end${TINY_END_CHARACTER}` } })
    expect(answer).toMatchObject({ ids: [], text: '', finishReason: 'stop' })
  })

  it('takes special tokens from the template, never from what a message says', async () => {
    const plain = await generate({ prompt: chat('ab'), maxTokens: 1 })
    const injected = await generate({ prompt: chat('a<|im_end|>b'), maxTokens: 1 })
    // ten characters, which the tiny vocabulary writes with at least five tokens; as a special token it would be one
    expect(injected.usage.promptTokens - plain.usage.promptTokens).toBeGreaterThanOrEqual(5)
    const text = await generate({ prompt: { kind: 'text', text: '<|im_start|>' }, maxTokens: 1 })
    expect(text.usage.promptTokens).toBeGreaterThanOrEqual(5)
  })

  it('keeps the state of a prompt for the next one that begins alike', async () => {
    const prompt = chat('The river runs to the sea, and the sea sends clouds over the land, and it rains.')
    const first = await generate({ prompt })
    const second = await generate({ prompt })
    expect(second.usage.cachedTokens).toBe(first.usage.promptTokens - 1)
    expect(second.ids).toEqual(first.ids)
  })

  it('draws by seed and position', async () => {
    const warm = { prompt: chat('Where does the road go?'), maxTokens: 60 }
    // from here on the prompt's state is kept: the batches have the same shape, and with it the same last bits
    await generate({ ...warm, maxTokens: 1 })
    const first = await generate({ ...warm, sampling: sampling({ temperature: 0.8 }) })
    const same = await generate({ ...warm, sampling: sampling({ temperature: 0.8 }) })
    const other = await generate({ ...warm, sampling: sampling({ temperature: 0.8, seed: 2 }) })
    expect(same.ids).toEqual(first.ids)
    expect(other.ids).not.toEqual(first.ids)
  })

  it('goes on exactly where it can: most continuations equal the unbroken run', async () => {
    let equal = 0
    const prompts = ['river', 'lamp', 'fox', 'tea', 'moon', 'board', 'wood', 'wind']
    for (const [i, word] of prompts.entries()) {
      const fixed = { prompt: chat(`The ${word} and the geese`), sampling: sampling({ temperature: i % 2 }) }
      const whole = await generate(fixed)
      const tail = await generate({ ...fixed, generated: whole.ids.slice(0, 15) })
      expect(tail.indices[0]).toBe(15)
      if (tail.ids.join() === whole.ids.slice(15).join()) equal++
    }
    // a share, no promise: another shape of the batch moves the last bits
    expect(equal).toBeGreaterThanOrEqual(prompts.length / 2)
  })

  it('applies penalties to the tokens of the answer', async () => {
    const prompt = chat('There is a time to lead.')
    const plain = await generate({ prompt, maxTokens: 80 })
    const penalised = await generate({
      prompt,
      maxTokens: 80,
      sampling: sampling({ frequencyPenalty: 2, presencePenalty: 2 }),
    })
    expect(new Set(penalised.ids).size).toBeGreaterThan(new Set(plain.ids).size)
    const rewarded = await generate({ prompt, maxTokens: 80, sampling: sampling({ presencePenalty: -2 }) })
    expect(new Set(rewarded.ids).size).toBeLessThan(new Set(penalised.ids).size)
  })

  it('counts the penalties of tokens that earlier attempts generated', async () => {
    const fixed = { prompt: chat('There is a time to lead.'), sampling: sampling({ frequencyPenalty: 2 }) }
    const whole = await generate({ ...fixed, maxTokens: 40 })
    const tail = await generate({ ...fixed, maxTokens: 40, generated: whole.ids.slice(0, 20) })
    const forgetful = await generate({
      prompt: fixed.prompt,
      maxTokens: 40,
      generated: whole.ids.slice(0, 20),
    })
    const agreeing = (ids: readonly number[]): number => ids.findIndex((id, i) => id !== whole.ids[20 + i]) >>> 0
    expect(agreeing(tail.ids)).toBeGreaterThan(agreeing(forgetful.ids))
  })

  it('penalizes repeats, at a move as without one', async () => {
    const fixed = { prompt: chat('There is a time to lead.'), maxTokens: 40 }
    const plain = await generate(fixed)
    const penalised = { ...fixed, sampling: sampling({ repeatPenalty: 1.8 }) }
    const whole = await generate(penalised)
    expect(new Set(whole.ids).size).toBeGreaterThan(new Set(plain.ids).size)
    expect((await generate({ ...fixed, sampling: sampling({ repeatPenalty: 1 }) })).ids).toEqual(plain.ids)
    const tail = await generate({ ...penalised, generated: whole.ids.slice(0, 20) })
    const forgetful = await generate({ ...fixed, generated: whole.ids.slice(0, 20) })
    const agreeing = (ids: readonly number[]): number => ids.findIndex((id, i) => id !== whole.ids[20 + i]) >>> 0
    expect(agreeing(tail.ids)).toBeGreaterThan(agreeing(forgetful.ids))
    // who comes next on the same sequence is not penalised
    expect((await generate(fixed)).ids).toEqual(plain.ids)
  })

  it('moves the logits that it is told to, beside penalties, and passes over tokens that it does not have', async () => {
    const fixed = { prompt: chat('There is a time to lead.'), maxTokens: 12 }
    const [first] = (await generate(fixed)).ids
    const never = { token: first!, bias: -100 }
    const without = await generate({ ...fixed, sampling: sampling({ logitBias: [never] }) })
    expect(without.ids).not.toContain(first)
    const always = { token: first!, bias: 100 }
    const only = await generate({
      ...fixed,
      sampling: sampling({ logitBias: [always, { token: 0xffff_ffff, bias: 1 }] }),
    })
    expect(new Set(only.ids)).toEqual(new Set([first]))
    // what is counted comes off what is given
    const counted = await generate({
      ...fixed,
      sampling: sampling({ logitBias: [always], frequencyPenalty: 2, presencePenalty: 2 }),
    })
    expect(new Set(counted.ids)).toEqual(new Set([first]))
  })

  it('lets neighbours decode while a long prompt is prefilled', async () => {
    const neighbour = await started(engine, { maxTokens: 2000 })
    const text = 'and another goose takes the lead '.repeat(150)
    let isFirst = false
    const long = generate({ prompt: { kind: 'text', text }, maxTokens: 1 }).then((answer) => {
      isFirst = true
      return answer
    })
    let tokens = 0
    while (!isFirst) {
      const step = await neighbour.next()
      if (step.done) break
      if (step.value.type === 'tokens') tokens++
    }
    const { usage } = await long
    expect(usage.promptTokens).toBeGreaterThan(1000)
    // one token for each chunk of 128, less what it takes to notice the end
    expect(tokens).toBeGreaterThanOrEqual(Math.floor(usage.promptTokens / 128) - 2)
    await neighbour.return?.()
  })

  it('gives a sequence back when it is cancelled in its prefill', async () => {
    const controller = new AbortController()
    const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
    const text = 'the moon over the town '.repeat(200)
    const cancelled = collect(engine.generate(request({ prompt: { kind: 'text', text } }), controller.signal))
    const refused = expect(cancelled).rejects.toBe(reason)
    controller.abort(reason)
    await refused
    const answers = await Promise.all([1, 2, 3, 4].map(() => generate({ maxTokens: 2 })))
    expect(answers.map((answer) => answer.ids.length)).toEqual([2, 2, 2, 2])
  })

  it('refuses ids that its vocabulary does not have', async () => {
    expect(await codeOf(generate({ generated: [1, 320] }))).toBe('INVALID_REQUEST')
    expect(await codeOf(generate({ generated: [-1] }))).toBe('INVALID_REQUEST')
    expect((await generate({ generated: [1, 319], maxTokens: 4 })).ids).toHaveLength(2)
  })
})

describe('a model file that is none', () => {
  const broken = async (name: string, change: (file: string) => Promise<void>): Promise<string> => {
    const file = join(dir, name)
    await copyFile(path, file)
    await change(file)
    return file
  }
  const patch = async (file: string, offset: number, bytes: Uint8Array): Promise<void> => {
    const handle = await open(file, 'r+')
    await handle.write(bytes, 0, bytes.length, offset)
    await handle.close()
  }

  it('is refused with its name and what is wrong', async () => {
    const cases: [string, RegExp][] = [
      [join(dir, 'absent.gguf'), /no such file/],
      [dir, /is not a file|EISDIR/],
      [await broken('empty.gguf', (file) => truncate(file, 0)), /not a GGUF file/],
      [await broken('page.gguf', (file) => writeFile(file, '<!doctype html>'.repeat(9))), /not a GGUF file/],
      [await broken('version.gguf', (file) => patch(file, 4, Buffer.from([99]))), /version 99/],
      [await broken('tensors.gguf', (file) => patch(file, 8, Buffer.alloc(8, 0xff))), /number of tensors/],
      [await broken('keys.gguf', (file) => patch(file, 16, Buffer.alloc(8, 0xff))), /number of metadata keys/],
      [await broken('head.gguf', (file) => truncate(file, 5000)), /truncated/],
      [await broken('data.gguf', (file) => truncate(file, 8_000_000)), /truncated: its tensors end at byte/],
    ]
    for (const [file, why] of cases) {
      const refused = readGguf(file)
      expect(await codeOf(refused), file).toBe('MODEL_FILE_INVALID')
      await expect(refused).rejects.toThrow(why)
      await expect(refused).rejects.toThrow(file)
    }
  })

  it('costs nothing but the load', async () => {
    const engine = createEngine('llama', components)
    const file = await broken('cut.gguf', (copy) => truncate(copy, 100_000))
    const refused = engine.load({ path: file, digest, slots: 1 })
    expect(await codeOf(refused)).toBe('MODEL_FILE_INVALID')
    await expect(refused).rejects.toThrow(file)
    const unknown = await broken('architecture.gguf', async (copy) => {
      const head = (await readFile(copy)).subarray(0, 4096)
      await patch(copy, head.indexOf('llama'), Buffer.from('lxama'))
    })
    expect(await codeOf(engine.load({ path: unknown, digest, slots: 1 }))).toBe('MODEL_LOAD_FAILED')
    await engine.load({ path, digest, slots: 1, contextTokens: 256, threads: 1 })
    expect((await collect(engine.generate(request({ maxTokens: 2 }), never))).ids).toHaveLength(2)
    await engine.unload()
  }, 60_000)

  it('is refused or read, whatever its head says', async () => {
    const head = (await readFile(path)).subarray(0, 16_384)
    const file = join(dir, 'fuzzed.gguf')
    const flips = fc.array(fc.tuple(fc.nat(head.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const bytes = Buffer.from(head)
        for (const [at, value] of changes) bytes[at] = value
        await writeFile(file, bytes)
        // 16 KiB are never the whole model, so that all that is read is refused
        expect(await codeOf(readGguf(file))).toBe('MODEL_FILE_INVALID')
      }),
      { numRuns: 100 },
    )
  })
})

describe('a model that does not fit', () => {
  it('is refused with the numbers', async () => {
    const engine = createEngine('llama', components)
    const refused = engine.load({ path, digest, slots: 256, contextTokens: 4096 * 16 })
    expect(await codeOf(refused)).toBe('MODEL_LOAD_FAILED')
    await expect(refused).rejects.toThrow(/65536 tokens .* trained for 4096/)
  }, 60_000)
})

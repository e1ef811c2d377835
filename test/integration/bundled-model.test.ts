/** The language model that comes with Skein, in a real engine: it can be measured, and its answers go on elsewhere. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { asModelDigest, GREEDY, type Prompt } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { measureModel } from '../../node/capability/index.ts'
import { createEngine, type Engine, type GenerationRequest } from '../../node/engines/index.ts'
import { BUNDLED_CHAT_MODEL } from '../../node/models/store/index.ts'
import { collect, request, type Answer } from '../compliance/engine.suite.ts'

const never = new AbortController().signal
const clock = new SystemClock()
const SLOTS = 4
/** Of answers that went on, those that are the unbroken one to the letter. Batches of another shape move the last bits. */
const EQUAL_SHARE_MIN = 0.9

let source: Engine
let target: Engine

async function load(slots: number): Promise<Engine> {
  const engine = createEngine('llama', { clock, log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path: BUNDLED_CHAT_MODEL, digest, slots, contextTokens: 512, threads: 1 })
  return engine
}

const ask = (content: string): Prompt => ({ kind: 'chat', messages: [{ role: 'user', content }] })
const generate = (engine: Engine, overrides: Partial<GenerationRequest>): Promise<Answer> =>
  collect(engine.generate(request({ maxTokens: 200, sampling: { ...GREEDY, seed: 1 }, ...overrides }), never))

beforeAll(async () => {
  ;[source, target] = await Promise.all([load(SLOTS), load(1)])
}, 60_000)
afterAll(() => Promise.all([source.unload(), target.unload()]))

it('is measured, though it ends its answers by itself', async () => {
  const { text, finishReason } = await generate(source, { prompt: ask('Hello!') })
  expect(finishReason, text).toBe('stop')
  const speed = await measureModel(source, clock, { slots: SLOTS })
  expect(speed.prefillTokensPerSecond).toBeGreaterThan(0)
  expect(speed.decode.map(({ sequences }) => sequences)).toEqual([1, SLOTS])
})

it('goes on elsewhere at any token with the story that it was telling', async () => {
  let [cuts, equal] = [0, 0]
  for (const who of ['a fox', 'a king and a lamp', 'an owl named Greta']) {
    const prompt = ask(`Tell me a story about ${who}.`)
    const whole = await generate(source, { prompt })
    expect(whole.finishReason).toBe('stop')
    for (let position = 1; position < whole.ids.length; position += 6) {
      const tail = await generate(target, { prompt, generated: whole.ids.slice(0, position) })
      const text = whole.releases.slice(0, position).join('') + tail.text
      expect(text.startsWith(whole.releases.slice(0, position).join(''))).toBe(true)
      cuts++
      if (text === whole.text) equal++
    }
  }
  process.stdout.write(`${equal} of ${cuts} stories that went on elsewhere equal the unbroken one\n`)
  expect(equal / cuts).toBeGreaterThanOrEqual(EQUAL_SHARE_MIN)
}, 60_000)

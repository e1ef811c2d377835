/**
 * What OpenAI's own client makes of several choices and of a response's log probabilities, made by a real model; every answer
 * is held to the client's types.
 */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import { saysAndHangs } from '../fixtures/mesh-service-twin.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { strictFetch } from '../fixtures/openai/strict.ts'
import { engineScript, startGateway, type RunningGateway } from './gateway.harness.ts'

const ASK = { model: 'tiny', messages: [{ role: 'user' as const, content: 'hi' }], max_tokens: 12, temperature: 1 }

let running: RunningGateway
let engine: Engine
let client: OpenAI

beforeAll(async () => {
  engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path: await ensureModel('tiny'), digest, slots: 3, contextTokens: 1024, threads: 1 })
  running = await startGateway({ apiKey: 'sk-test' })
  running.twin.script = engineScript(engine)
  client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0, fetch: strictFetch })
}, 60_000)
afterAll(async () => {
  await running.gateway.stop()
  await engine.unload()
})

const said = ({ choices }: OpenAI.ChatCompletion): (string | null)[] => choices.map(({ message }) => message.content)

describe('several choices', () => {
  it('are the same ones for the same seed, the first of which is that of one choice', async () => {
    const { data, response } = await client.chat.completions.create({ ...ASK, seed: 5, n: 3 }).withResponse()
    const answers = said(data)
    expect(new Set(answers).size).toBe(3)
    expect(said(await client.chat.completions.create({ ...ASK, seed: 5, n: 3 }))).toEqual(answers)
    const single = await client.chat.completions.create({ ...ASK, seed: 5 })
    expect(said(single)).toEqual(answers.slice(0, 1))
    expect(response.headers.get('x-skein-tasks')?.split(', ')).toHaveLength(3)
    expect(data.usage?.prompt_tokens).toBe(single.usage?.prompt_tokens)
    expect(data.usage?.completion_tokens).toBeGreaterThan(single.usage!.completion_tokens)
  })

  it('are equal without chance', async () => {
    const answers = said(await client.chat.completions.create({ ...ASK, temperature: 0, n: 2 }))
    expect(answers[0]).not.toBe('')
    expect(answers[1]).toBe(answers[0])
  })

  it('are put together from a stream by the client itself', async () => {
    const whole = await client.chat.completions.create({ ...ASK, seed: 6, n: 3, logprobs: true, top_logprobs: 1 })
    const stream = client.chat.completions.stream({
      ...ASK,
      ...{ seed: 6, n: 3, logprobs: true, top_logprobs: 1 },
      stream_options: { include_usage: true },
    })
    const streamed = await stream.finalChatCompletion()
    expect(said(streamed)).toEqual(said(whole))
    // what is computed beside other sequences differs in its last bits
    const [streamedTokens, wholeTokens] = [streamed, whole].map(({ choices }) =>
      choices.flatMap(({ logprobs }) => logprobs!.content!),
    )
    expect(streamedTokens!.map(({ token }) => token)).toEqual(wholeTokens!.map(({ token }) => token))
    for (const [i, { logprob }] of streamedTokens!.entries()) expect(logprob).toBeCloseTo(wholeTokens![i]!.logprob, 2)
    expect(streamed.choices.map(({ finish_reason }) => finish_reason)).toEqual(
      whole.choices.map(({ finish_reason }) => finish_reason),
    )
    expect(streamed.usage?.completion_tokens).toBe(whole.usage?.completion_tokens)
  })

  it('continue each of several texts', async () => {
    const body = { model: 'tiny', prompt: ['The goose', 'A river'], max_tokens: 6, temperature: 0 }
    const whole = await client.completions.create(body)
    const streamed = ['', '']
    for await (const { choices } of await client.completions.create({ ...body, stream: true }))
      for (const { index, text } of choices) streamed[index] += text
    expect(streamed).toEqual(whole.choices.map(({ text }) => text))
    const alone = await client.completions.create({ ...body, prompt: 'A river' })
    expect(alone.choices[0]!.text).toBe(streamed[1])
  })

  it('all end when the client hangs up', async () => {
    const before = running.twin.calls.length
    running.twin.script = saysAndHangs('a')
    try {
      const stream = await client.chat.completions.create({ ...ASK, n: 2, stream: true })
      for await (const _ of stream) break
      await running.twin.called(before + 2)
      await Promise.all(running.twin.calls.slice(before).map(({ ended }) => ended))
      expect(running.twin.calls.slice(before).every(({ signal }) => signal.aborted)).toBe(true)
    } finally {
      running.twin.script = engineScript(engine)
    }
  })
})

describe('log probabilities of a response', () => {
  const LOGPROBS = { include: ['message.output_text.logprobs' as const], top_logprobs: 2 }
  const BODY = { model: 'tiny', input: 'hi', max_output_tokens: 8, temperature: 0, ...LOGPROBS }

  it('are those of a chat, in the item and in the events', async () => {
    const response = await client.responses.create(BODY)
    const part = partOf(response)
    expect(part.logprobs).toHaveLength(8)
    expect(part.logprobs![0]!.top_logprobs).toHaveLength(2)
    const chat = await client.chat.completions.create({
      ...{ ...ASK, max_tokens: 8, temperature: 0, logprobs: true, top_logprobs: 2 },
    })
    expect(part.logprobs!.map(({ token }) => token)).toEqual(
      chat.choices[0]!.logprobs!.content!.map(({ token }) => token),
    )
    let told = 0
    let done: OpenAI.Responses.ResponseTextDoneEvent | undefined
    const stream = await client.responses.create({ ...BODY, stream: true })
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') told += event.logprobs.length
      if (event.type === 'response.output_text.done') done = event
    }
    expect(done!.logprobs.map(({ token }) => token)).toEqual(part.logprobs!.map(({ token }) => token))
    // the last tokens may release no text of their own
    expect(told).toBeGreaterThan(0)
    expect(told).toBeLessThanOrEqual(8)
    expect(partOf(await client.responses.retrieve(response.id))).toEqual(part)
  })
})

function partOf({ output }: OpenAI.Responses.Response): OpenAI.Responses.ResponseOutputText {
  const [item] = output
  const part = item?.type === 'message' ? item.content[0] : undefined
  if (part?.type !== 'output_text') throw new TypeError('the response has no text')
  return part
}

/**
 * Programs that know nothing of Skein, against a whole mesh of one machine with a tiny real model: the official Python
 * clients, and the two JavaScript frameworks in which most agents are written, each with its own loop of tool calls.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import {
  HumanMessage,
  type AIMessage,
  type AIMessageChunk,
  type BaseMessage,
  type ToolMessage,
} from '@langchain/core/messages'
import { DynamicStructuredTool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { embed, generateText, isStepCount, jsonSchema, Output, streamText, tool, type PrepareStepFunction } from 'ai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { pythonWith } from '../fixtures/python.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'

const KEY = 'sk-test'
const CHAT = 'tools'
const EMBEDDING = 'skein-embedding'
const QUESTION = 'How warm is it?'
/** An environment may have to be made first, from the package index. */
const PYTHON_MS = 300_000

let up: SkeinProcess
let baseURL: string
beforeAll(async () => {
  const models = ['--model', await ensureModel('tools'), '--model', EMBEDDING]
  up = await SkeinProcess.start({
    args: [
      ...['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off'],
      ...['--slots', '2', '--api-key', KEY, ...models],
    ],
    readyMs: 60_000,
  })
  baseURL = `${up.http}/v1`
})
afterAll(() => up.kill())

interface Reading {
  unit: 'C' | 'F'
  digits: number
}
const PARAMETERS = {
  type: 'object' as const,
  properties: {
    unit: { type: 'string' as const, enum: ['C', 'F'] },
    digits: { type: 'integer' as const, minimum: 0, maximum: 3 },
  },
  required: ['unit', 'digits'],
  additionalProperties: false,
}

function expectReading(given: unknown): void {
  const { unit, digits } = given as Reading
  expect(['C', 'F']).toContain(unit)
  expect([0, 1, 2, 3]).toContain(digits)
}

describe('the official Python clients', () => {
  const script = fileURLToPath(new URL('../fixtures/python/clients.py', import.meta.url))
  const names = [...readFileSync(script, 'utf8').matchAll(/^def ((?:openai|ollama)_\w+)/gm)].map(([, name]) => name!)
  const failures = new Map<string, string | null>()
  let said = ''
  beforeAll(async () => {
    const child = spawn(await pythonWith('clients'), [script, up.http, KEY], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said += text))
    await new Promise((resolve) => child.once('close', resolve))
    for (const line of said.split('\n').filter((each) => each.startsWith('{"name"'))) {
      const { name, failure } = JSON.parse(line) as { name: string; failure: string | null }
      failures.set(name, failure)
    }
  }, PYTHON_MS)

  it('are asked for more than a few things', () => expect(names.length).toBeGreaterThan(20))

  it.each(names)('%s', (name) => expect(failures.get(name), said.slice(-4000)).toBeNull())
})

describe('the AI SDK', () => {
  const asked: unknown[] = []
  const thermometer = tool({
    description: 'Reads the thermometer',
    inputSchema: jsonSchema<Reading>(PARAMETERS),
    execute: ({ unit, digits }: Reading) => {
      asked.push({ unit, digits })
      return `17.5 ${unit}`
    },
  })
  const model = () =>
    createOpenAICompatible({
      name: 'skein',
      baseURL,
      apiKey: KEY,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })
  /** A call in the first step and words in the second: a model of a few words would not find that out by itself. */
  const prepareStep: PrepareStepFunction<{ thermometer: typeof thermometer }> = ({ stepNumber }) => ({
    toolChoice: stepNumber === 0 ? 'required' : 'none',
  })
  const loop = () => ({
    model: model()(CHAT),
    prompt: QUESTION,
    tools: { thermometer },
    stopWhen: isStepCount(2),
    // members that the provider does not know go into the request as they are
    providerOptions: { skein: { parallel_tool_calls: false } },
    ...{ prepareStep, temperature: 0, maxOutputTokens: 200, maxRetries: 0 },
  })

  it('runs a loop of calls to its end in words', async () => {
    asked.length = 0
    const { steps, text, totalUsage } = await generateText(loop())
    expect(steps.map(({ finishReason }) => finishReason)[0]).toBe('tool-calls')
    expect(steps).toHaveLength(2)
    expect(asked).toHaveLength(steps[0]!.toolCalls.length)
    expectReading(asked[0])
    expect(steps[0]!.toolResults[0]!.output).toMatch(/^17\.5 [CF]$/)
    expect(text).not.toBe('')
    expect(totalUsage.outputTokens).toBeGreaterThan(5)
  })

  it('runs the same loop on streams', async () => {
    asked.length = 0
    const result = streamText(loop())
    const kinds = new Set<string>()
    for await (const part of result.stream) kinds.add(part.type)
    expect([...kinds]).toEqual(expect.arrayContaining(['tool-call', 'tool-result', 'text-delta', 'finish']))
    expect(kinds).not.toContain('error')
    expectReading(asked[0])
    expect((await result.steps)[1]!.text).not.toBe('')
  })

  it('has an answer held to a schema, and texts embedded', async () => {
    const output = Output.object({ schema: jsonSchema<Reading>(PARAMETERS) })
    const held = await generateText({ model: model()(CHAT), prompt: QUESTION, output, temperature: 0, maxRetries: 0 })
    expectReading(held.output)
    const { embedding } = await embed({ model: model().embeddingModel(EMBEDDING), value: 'the river' })
    expect(Math.hypot(...embedding)).toBeCloseTo(1, 3)
  })
})

describe('LangChain.js', () => {
  const thermometer = new DynamicStructuredTool({
    name: 'thermometer',
    description: 'Reads the thermometer',
    schema: PARAMETERS,
    func: ({ unit }: Reading) => Promise.resolve(`17.5 ${unit}`),
  })
  const configuration = () => ({ configuration: { baseURL }, apiKey: KEY, maxRetries: 0 })
  const chat = (extra: { useResponsesApi?: boolean } = {}) =>
    new ChatOpenAI({ ...configuration(), model: CHAT, temperature: 0, maxTokens: 200, ...extra })

  it.each([
    ['chat completions', false],
    ['responses', true],
  ])('runs a loop of calls over %s', async (_, useResponsesApi) => {
    const model = chat({ useResponsesApi })
    const messages: BaseMessage[] = [new HumanMessage(QUESTION)]
    // by its name: over responses this client drops `required`
    const demanded = { tool_choice: 'thermometer', parallel_tool_calls: false }
    const first = await model.bindTools([thermometer], demanded).invoke(messages)
    const [call, ...others] = first.tool_calls!
    expect(others).toEqual([])
    expectReading(call!.args)
    const result: unknown = await thermometer.invoke({ ...call!, type: 'tool_call' })
    expect((result as ToolMessage).content).toMatch(/^17\.5 [CF]$/)
    messages.push(first, result as ToolMessage)
    const last: AIMessage = await model.invoke(messages)
    expect(last.tool_calls).toEqual([])
    expect(last.text).not.toBe('')
    expect(last.usage_metadata).toMatchObject({ output_tokens: expect.any(Number) as number })
  })

  it('puts a call together from a stream', async () => {
    const stream = await chat()
      .bindTools([thermometer], { tool_choice: 'thermometer', parallel_tool_calls: false })
      .stream(QUESTION)
    const chunks: AIMessageChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    const whole = chunks.reduce((sum, chunk) => sum.concat(chunk))
    expectReading(whole.tool_calls![0]!.args)
    expect(whole.usage_metadata).toMatchObject({ output_tokens: expect.any(Number) as number })
  })

  it('has an answer held to a schema, and texts embedded', async () => {
    const held = chat().withStructuredOutput<Reading>(PARAMETERS, { name: 'reading', method: 'jsonSchema' })
    expectReading(await held.invoke(QUESTION))
    const vectors = await new OpenAIEmbeddings({ ...configuration(), model: EMBEDDING }).embedDocuments(['a', 'b'])
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 3)
  })
})

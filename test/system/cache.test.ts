/** The cache of answers on a real process, by the official clients: hits in every API, tenants, restarts, damaged files. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DataDir } from '../../mesh/runtime/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

const ARGS = ['up', '--name', 'first', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
const MODELS = ['--model', 'echo:parrot', '--model', 'echo:slow?tps=30']
const CACHE = ['--cache', '8M', '--cache-disk', '8M']
const PROMPT = 'whoever tires falls back, another takes the lead'
const messages = [{ role: 'user' as const, content: PROMPT }]
const ASKED = { model: 'parrot', messages, temperature: 0, max_tokens: 6 }

describe('a coordinator that keeps answers', () => {
  let data: string
  let up: SkeinProcess
  let keys: string[]
  const start = async (): Promise<void> => {
    const args = [...ARGS, ...MODELS, ...CACHE, '--http', '127.0.0.1:0']
    up = await SkeinProcess.start({ args, dataDir: data, readyMs: 90_000 })
  }
  /** As the owner. */
  const call = async (method: string, path: string, body?: object): Promise<unknown> => {
    const authorization = `Bearer ${DataDir.instance(data)!.ownKey}`
    const headers = { authorization, ...(body && { 'content-type': 'application/json' }) }
    const response = await fetch(`${up.http}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    expect(response.ok).toBe(true)
    return response.json()
  }
  const add = async (name: string, more: object = {}): Promise<string> =>
    ((await call('POST', '/mesh/v1/keys', { name, ...more })) as { secret: string }).secret
  const clientOf = (key: number): OpenAI => new OpenAI({ baseURL: `${up.http}/v1`, apiKey: keys[key]!, maxRetries: 10 })
  const ask = async (
    body: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> & { skein?: object } = {},
    headers: Record<string, string> = {},
    key = 0,
  ) => {
    const chat = clientOf(key).chat.completions
    const { data: answer, response } = await chat.create({ ...ASKED, ...body }, { headers }).withResponse()
    return { answer, response, cache: response.headers.get('x-skein-cache') }
  }
  const stats = async () =>
    ((await call('GET', '/mesh/v1/cache')) as { stats: { hits: Record<string, number>; corrupted: number } }).stats

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'skein-cache-'))
    await start()
    keys = [await add('ada'), await add('bob'), await add('eve', { no_cache: true })]
  })
  afterAll(async () => {
    await up.kill()
    await rm(data, { recursive: true, force: true })
  })

  it('gives the same answer again, whole, as a stream and in another API, as a task of its own', async () => {
    const first = await ask()
    const second = await ask()
    expect([first.cache, second.cache]).toEqual(['miss', 'hit'])
    expect(second.answer.choices).toEqual(first.answer.choices)
    expect(second.answer.id).not.toBe(first.answer.id)
    expect(second.answer.usage).toEqual({
      ...first.answer.usage,
      prompt_tokens_details: { cached_tokens: first.answer.usage!.prompt_tokens },
    })
    const { headers } = second.response
    expect(headers.get('age')).toMatch(/^\d+$/)
    expect([headers.get('x-skein-node'), headers.get('x-skein-task')]).toEqual([null, expect.stringMatching(/^task_/)])
    expect(first.response.headers.get('x-skein-node')).toBe('first')

    const stream = await clientOf(0)
      .chat.completions.create({ ...ASKED, stream: true })
      .withResponse()
    let text = ''
    for await (const chunk of stream.data) text += chunk.choices[0]?.delta.content ?? ''
    expect([stream.response.headers.get('x-skein-cache'), text]).toEqual([
      'hit',
      first.answer.choices[0]!.message.content,
    ])

    const seen: (string | null)[] = []
    const watched: typeof fetch = async (...args) => {
      const response = await fetch(...args)
      seen.push(response.headers.get('x-skein-cache'))
      return response
    }
    const ollama = new Ollama({ host: up.http, fetch: watched, headers: { authorization: `Bearer ${keys[0]}` } })
    const options = { temperature: 0, num_predict: 6 }
    expect((await ollama.chat({ model: 'parrot', messages, options })).message.content).toBe(text)
    // Anthropic's API says that nothing is to be thought, where OpenAI's says nothing
    await ask({ reasoning_effort: 'none' })
    const anthropic = new Anthropic({ baseURL: up.http, apiKey: keys[0]!, fetch: watched, maxRetries: 0 })
    const message = await anthropic.messages.create({ ...ASKED })
    expect(message.content).toMatchObject([{ type: 'text', text }])
    expect(seen).toEqual(['hit', 'hit'])
  })

  it('gives nobody the answer of another key', async () => {
    expect([(await ask({}, {}, 1)).cache, (await ask({}, {}, 1)).cache]).toEqual(['miss', 'hit'])
    expect([(await ask({}, {}, 2)).cache, (await ask({}, {}, 2)).cache]).toEqual(['bypass', 'bypass'])
  })

  it('obeys what a client says of it', async () => {
    const other = { max_tokens: 5 }
    await expect(ask(other, { 'cache-control': 'only-if-cached' })).rejects.toMatchObject({
      status: 504,
      code: 'not_cached',
    })
    expect((await ask(other, { 'cache-control': 'no-store' })).cache).toBe('bypass')
    expect((await ask(other, { 'cache-control': 'no-cache' })).cache).toBe('bypass')
    expect((await ask({ ...other, skein: { cache: 'only' } })).cache).toBe('hit')
    expect((await ask({ ...other, skein: { cache: 'off' } })).cache).toBe('bypass')
    expect((await ask({ ...other, temperature: 0.5 })).cache).toBe('bypass')
    await expect(ask({ skein: { cache: 'never' } })).rejects.toMatchObject({ status: 400 })
    const once = { model: 'parrot', input: PROMPT, temperature: 0, store: false }
    const { response } = await clientOf(0).responses.create(once).withResponse()
    expect(response.headers.get('x-skein-cache')).toBe('bypass')
  })

  it('of equal requests at once one is made; when its client leaves, or it is cancelled, the others lose nothing', async () => {
    const slow = { ...ASKED, model: 'slow', max_tokens: 24, stream: true } as const
    const begin = async () => {
      const { data: stream, response } = await clientOf(0).chat.completions.create(slow).withResponse()
      const reading = {
        text: '',
        stream,
        cache: response.headers.get('x-skein-cache'),
        task: response.headers.get('x-skein-task')!,
      }
      return reading
    }
    const rest = async (reading: {
      text: string
      stream: AsyncIterable<OpenAI.ChatCompletionChunk>
    }): Promise<string> => {
      for await (const chunk of reading.stream) reading.text += chunk.choices[0]?.delta.content ?? ''
      return reading.text
    }
    const [first, ...others] = [await begin(), await begin(), await begin()]
    expect([first, ...others].map(({ cache }) => cache)).toEqual(['miss', 'shared', 'shared'])
    first!.stream.controller.abort()
    const cancelled = await begin()
    expect(cancelled.cache).toBe('shared')
    await fetch(`${up.http}/mesh/v1/tasks/${first!.task}/cancel`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys[0]}` },
    })
    const texts = await Promise.all([...others, cancelled].map(rest))
    const { answer } = await ask({ model: 'slow', max_tokens: 24 }, { 'cache-control': 'no-store' })
    expect(texts).toEqual(Array(3).fill(answer.choices[0]!.message.content))
  })

  it('has it over a kill, and makes what is damaged again', async () => {
    await eventually('the answer is on the disk', async () => {
      const files = await readdir(join(data, 'answers'), { recursive: true, withFileTypes: true }).catch(() => [])
      return files.some((entry) => entry.isFile() && entry.name.length === 64) ? true : undefined
    })
    await up.stop('SIGKILL')
    await start()
    const again = await ask()
    expect([again.cache, (await stats()).hits['disk']]).toEqual(['hit', 1])
    await up.stop('SIGKILL')
    for (const entry of await readdir(join(data, 'answers'), { recursive: true, withFileTypes: true }))
      if (entry.isFile()) await writeFile(join(entry.parentPath, entry.name), 'skein-answer 1 0\n{}')
    await start()
    const remade = await ask()
    expect([remade.cache, (await stats()).corrupted]).toEqual(['miss', 1])
    expect(remade.answer.choices).toEqual(again.answer.choices)
    // what was given again is used by its key, on no node
    const used = (await call('GET', '/mesh/v1/usage?by=key,node')) as { data: { name: string; node?: string }[] }
    expect(used.data.filter(({ name }) => name === 'ada').map(({ node }) => node)).toEqual([undefined, 'first'])
  })

  it('tells what it did, and deletes all when it is told to', async () => {
    const run = async (what: string): Promise<string> => {
      const result = await skein(['cache', what, '--data', data], { timeoutMs: 100_000 })
      expect(result.code, result.stderr).toBe(0)
      return result.stdout
    }
    expect(await run('stats')).toMatch(/given again +\d+ of \d+ \(\d+ %\): \d+ memory, \d+ disk, \d+ shared\n/)
    expect((await ask()).cache).toBe('hit')
    expect(await run('clear')).toBe('the kept answers are deleted\n')
    expect((await ask()).cache).toBe('miss')
  })
})

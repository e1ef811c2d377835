/**
 * The coordinator is killed, or its disk is full, while answers run. Clients that may resume get the rest exactly once,
 * and what was accepted is kept.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import OpenAI from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { Skein, type ChatAnswer, type ChatPart } from '../../clients/sdk/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { echoed } from './harness/answer.ts'
import { allBegun, expectEchoed, expectWhole } from './harness/checks.ts'
import { FaultMesh } from './harness/fault-mesh.ts'
import { ResponseReader } from './harness/response.ts'

const run = promisify(execFile)
const NODES = ['one', 'two']
/** Six seconds: longer than the restart takes. */
const TOKENS = 360
const MODEL_TOKENS = 300
/** What the ledger needs to begin with, and little more. */
const DISK_MB = 6

let mesh: FaultMesh
let afterwards: () => Promise<void> = async () => {}
afterEach(async () => {
  await mesh?.stop()
  await afterwards()
  afterwards = async () => {}
})

async function start(dataDir?: string): Promise<OpenAI> {
  const model = await ensureModel('m135')
  const args = ['--model', 'echo:paced?tps=60', '--model', model, '--slots', '8', '--threads', '1', '--context', '1024']
  mesh = await FaultMesh.start({
    nodes: NODES.map((name) => ({ name, args })),
    ...(dataDir !== undefined && { dataDir }),
  })
  return new OpenAI({ baseURL: `${mesh.http}/v1`, apiKey: 'none', maxRetries: 0 })
}

const begun = (readers: readonly ResponseReader[], deltas = 3): Promise<true> =>
  eventually(
    'every response has begun',
    () => Promise.resolve(readers.every((reader) => reader.deltas.length > deltas) || undefined),
    30_000,
  )

async function followedText(skein: Skein, id: string): Promise<string> {
  let text = ''
  for await (const part of skein.responses.follow(id)) if (part.type === 'text') text += part.text
  return text
}

function readWhole(parts: AsyncIterable<ChatPart>): { begun: Promise<void>; answer: Promise<ChatAnswer> } {
  const begun = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<ChatAnswer>()
  const read = async (): Promise<void> => {
    for await (const part of parts) {
      if (part.type === 'text') begun.resolve()
      if (part.type === 'end') answer.resolve(part.answer)
    }
  }
  read().catch((error: unknown) => answer.reject(error))
  return { begun: begun.promise, answer: answer.promise }
}

describe('the coordinator is killed while answers run', () => {
  it('gives clients that resume the rest exactly once, and completes what runs in the background', async () => {
    const client = await start()
    const spoken = new ResponseReader(client, { model: 'm135', input: 'tell of geese', tokens: MODEL_TOKENS })
    await begun([spoken])
    const prompts = Array.from({ length: 4 }, (_, i) => `resume ${i} goose flies on`)
    const readers = prompts.map((input) => new ResponseReader(client, { model: 'paced', input, tokens: TOKENS }))
    const chats = [0, 1].map((i) =>
      mesh.ask({ model: 'paced', prompt: `chat ${i} goose flies on`, maxTokens: TOKENS, key: `chat-${i}` }),
    )
    const background = await client.responses.create({
      model: 'paced',
      input: 'unseen goose flies on',
      max_output_tokens: TOKENS,
      background: true,
    })
    // a program of the SDK's: it sees nothing of all this
    const skein = new Skein({ url: mesh.http })
    const messages = [{ role: 'user', content: 'sdk goose flies on' }] as const
    const whole = readWhole(skein.chatStream({ model: 'paced', messages, maxTokens: TOKENS, allowTruncated: true }))
    const kept = await skein.responses.begin({ model: 'paced', input: 'kept goose flies on', maxOutputTokens: TOKENS })
    const followed = followedText(skein, kept.id)
    await whole.begun
    await allBegun(chats)
    await begun(readers)

    await mesh.coordinator.stop('SIGKILL')
    await Promise.all([...readers, spoken].map((reader) => reader.broke))
    await Promise.all(chats.map((chat) => chat.ended))
    for (const chat of chats) expect(chat.hasDone).toBe(false)
    await mesh.startCoordinator()

    await Promise.all([...readers, spoken].map((reader) => reader.resume()))
    const { text, resumed } = await whole.answer
    expect(text).toBe(echoed('sdk goose flies on', TOKENS))
    expect(resumed).toBeGreaterThan(0)
    expect(await followed).toBe(echoed('kept goose flies on', TOKENS))
    for (const [i, reader] of readers.entries()) expect(reader.text).toBe(echoed(prompts[i]!, TOKENS))
    for (const reader of [...readers, spoken]) {
      expect(reader.status).toMatch(/^(completed|incomplete)$/)
      expect(reader.sequenceNumbers).toEqual([...new Set(reader.sequenceNumbers)].sort((a, b) => a - b))
      expect(reader.text).toBe((await mesh.task(reader.id.replace('resp_', 'task_'))).text)
    }
    for (const chat of chats) {
      const rest = mesh.ask({ ...chat.question, after: chat.ids.at(-1)! })
      await rest.ended
      expect(rest.error).toBeUndefined()
      expect(rest.taskId).toBe(chat.taskId)
      expect(chat.text + rest.text).toBe(echoed(chat.question.prompt, TOKENS))
    }
    const done = await eventually(
      'the background response is complete',
      async () => {
        const response = await client.responses.retrieve(background.id)
        return response.status === 'in_progress' || response.status === 'queued' ? undefined : response
      },
      30_000,
    )
    expect(done.output_text).toBe(echoed('unseen goose flies on', TOKENS))
  })

  it('goes on with the answers that its nodes hold, and makes none of their tokens again', async () => {
    const client = await start()
    const input = 'held goose flies on'
    const reader = new ResponseReader(client, { model: 'paced', input, tokens: TOKENS })
    await begun([reader], 60)
    await mesh.coordinator.stop('SIGKILL')
    await reader.broke
    await mesh.startCoordinator()
    await reader.resume()
    expect(reader.text).toBe(echoed(input, TOKENS))
    const { attempts } = await mesh.task(reader.id.replace('resp_', 'task_'))
    expect(attempts.map(({ assigned }) => assigned.reason)).toEqual(['first', 'reattached'])
    expect(attempts[1]!.assigned.node).toEqual(attempts[0]!.assigned.node)
  })

  it('and a node with it: the answer is made again, and a client that has more than is known is told so', async () => {
    const client = await start()
    const input = 'both goose flies on'
    const reader = new ResponseReader(client, { model: 'paced', input, tokens: TOKENS })
    await begun([reader], 90)
    const { attempts } = await mesh.task(reader.id.replace('resp_', 'task_'))
    const { name } = attempts[0]!.assigned.node
    await Promise.all([mesh.coordinator.stop('SIGKILL'), mesh.node(name).stop('SIGKILL')])
    await reader.broke
    await mesh.startCoordinator()
    const response = await eventually(
      'the answer is complete',
      async () => {
        const found = await client.responses.retrieve(reader.id)
        return found.status === 'in_progress' || found.status === 'queued' ? undefined : found
      },
      30_000,
    )
    // echo is exact: what was made again is what was lost
    expect(response.output_text).toBe(echoed(input, TOKENS))
    const resumed = await reader.resume().then(
      () => 'resumed',
      (error: unknown) => (error as { status?: number }).status,
    )
    expect(['resumed', 409]).toContain(resumed)
    if (resumed === 'resumed') expect(reader.text).toBe(echoed(input, TOKENS))
  })
})

describe("the coordinator's disk is full", () => {
  it('refuses new work and says why, ends what runs, and goes on when there is room', async () => {
    const disk = await mkdtemp(join(tmpdir(), 'skein-disk-'))
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'tmpfs', disk])
    afterwards = async () => {
      await run('umount', [disk])
      await rm(disk, { recursive: true })
    }
    await start(disk)
    const running = Array.from({ length: 4 }, (_, i) =>
      mesh.ask({
        model: 'paced',
        prompt: `full ${i} goose flies on`,
        maxTokens: 200,
        ...(i % 2 && { key: `full-${i}` }),
      }),
    )
    await allBegun(running)
    await fill(join(disk, 'filler'))

    const refused = await eventually('new work is refused', async () => {
      const answer = await mesh.ask({ model: 'paced', prompt: 'too late', maxTokens: 3 }).ended
      return answer.error
    })
    expect(refused).toMatchObject({ status: 503, code: 'LEDGER_UNAVAILABLE'.toLowerCase() })
    expect(refused.message).toMatch(/space|full/i)
    for (const answer of running) {
      await answer.ended
      expect(answer.error).toBeUndefined()
      expect(answer.hasDone).toBe(true)
      expect(answer.text).toBe(echoed(answer.question.prompt, 200))
    }

    await rm(join(disk, 'filler'))
    await eventually('new work is taken again', async () => {
      const answer = await mesh.ask({ model: 'paced', prompt: 'in time', maxTokens: 3 }).ended
      return answer.error === undefined || undefined
    })
    await expectWhole(mesh, mesh.ask({ model: 'm135', prompt: 'tell of geese', maxTokens: 20 }))
    for (const answer of running) {
      await eventually(
        'what ended meanwhile is on record',
        async () => (await mesh.task(answer.taskId)).state === 'completed' || undefined,
      )
      await expectEchoed(mesh, answer)
    }
  })
})

/** Writes until the disk is full. */
async function fill(path: string): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (let block = 64 * 1024; block >= 1;)
      await file.write(new Uint8Array(block)).then(
        ({ bytesWritten }) => {
          if (bytesWritten < block) block = Math.floor(block / 2)
        },
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOSPC') throw error
          block = Math.floor(block / 2)
        },
      )
  } finally {
    await file.close()
  }
}

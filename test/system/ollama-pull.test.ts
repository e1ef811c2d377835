/** Ollama's own client has a running Skein pull a model from a hub, chats with it, and has it removed again. */
import { readFile } from 'node:fs/promises'
import { Ollama } from 'ollama'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { HubDouble } from '../integration/pull.hub.ts'

const REPOSITORY = 'owner/model-GGUF'
const PULLED = 'm-Q4_K_M'
const MIB = 1024 ** 2

let hub: HubDouble
let up: SkeinProcess
let client: Ollama
let sizeBytes: number
beforeAll(async () => {
  const bytes = await readFile(await ensureModel('tiny'))
  sizeBytes = bytes.length
  hub = await HubDouble.start()
  hub.addModel(REPOSITORY, `${PULLED}.gguf`, bytes)
  process.env['HF_ENDPOINT'] = hub.endpoint
  process.env['SKEIN_KEEP_FREE'] = '0'
  up = await SkeinProcess.start({
    args: [
      ...['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off'],
      ...['--slots', '2', '--model', 'echo:one'],
    ],
    readyMs: 60_000,
  })
  client = new Ollama({ host: up.http })
}, 90_000)
afterAll(async () => {
  delete process.env['HF_ENDPOINT']
  delete process.env['SKEIN_KEEP_FREE']
  await up.kill()
  await hub.stop()
})

const names = async (): Promise<string[]> => (await client.list()).models.map(({ name }) => name)
const sentBytes = (): number => hub.reads.reduce((sum, read) => sum + read.sentBytes, 0)

describe('the official client', () => {
  it('leaves a pull in its middle, goes on where it was, and chats with the model at once', async () => {
    hub.bytesPerSecond = MIB
    const left = await client.pull({ model: `hf.co/${REPOSITORY}`, stream: true })
    const leaving = (async () => {
      for await (const { completed = 0 } of left) if (completed > MIB) left.abort()
    })()
    await expect(leaving).rejects.toThrow(/abort/i)
    hub.bytesPerSecond = 0
    const told = []
    for await (const part of await client.pull({ model: `hf.co/${REPOSITORY}`, stream: true })) told.push(part)
    expect(told[0]).toEqual({ status: 'pulling manifest' })
    expect(told.at(-2)).toMatchObject({ status: `serving ${PULLED}`, digest: expect.stringMatching(/^sha256:/) })
    expect(told.at(-1)).toEqual({ status: 'success' })
    const [first] = told.filter(({ completed }) => completed > 0)
    expect(first).toMatchObject({ total: sizeBytes, status: expect.stringMatching(/^pulling [0-9a-f]{12}$/) })
    // what came before the client left was kept
    expect(sentBytes()).toBeLessThan(2 * sizeBytes - MIB / 2)
    const answer = await client.chat({
      model: PULLED,
      messages: [{ role: 'user', content: 'hi' }],
      options: { num_predict: 3 },
    })
    expect(answer).toMatchObject({ done: true, eval_count: 3 })
  })

  it('has it removed, and pulled again by two at once', async () => {
    expect(await names()).toContain(`${PULLED}:latest`)
    expect(await client.delete({ model: `${PULLED}:latest` })).toEqual({ status: 'success' })
    await expect.poll(names).not.toContain(`${PULLED}:latest`)
    const before = sentBytes()
    const pull = () => client.pull({ model: `hf:${REPOSITORY}` })
    expect(await Promise.all([pull(), pull()])).toEqual([{ status: 'success' }, { status: 'success' }])
    expect(sentBytes() - before).toBeLessThan(1.5 * sizeBytes)
    expect(await names()).toContain(`${PULLED}:latest`)
  })

  it('is told what cannot be done, and the way', async () => {
    await expect(client.pull({ model: 'llama3.2' })).rejects.toMatchObject({
      status_code: 404,
      message: expect.stringContaining('pull hf.co/OWNER/REPOSITORY'),
    })
    await expect(client.pull({ model: 'hf.co/owner/none' })).rejects.toThrow(/no such repository/)
    await expect(client.delete({ model: 'one' })).rejects.toMatchObject({
      status_code: 409,
      message: expect.stringContaining('--model'),
    })
    await expect(client.delete({ model: 'nothing' })).rejects.toMatchObject({ status_code: 404 })
  })
})

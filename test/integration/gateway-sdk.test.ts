/** The SDK at a real gateway: what it reads is what the gateway writes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Skein } from '../../clients/sdk/index.ts'
import { end, says, started, status, tokens } from '../fixtures/mesh-service-twin.ts'
import { embedsTo } from '../fixtures/twin-answers.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
let skein: Skein
beforeAll(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  skein = new Skein({ url: `${running.gateway.url}/v1`, apiKey: 'sk-test' })
})
afterAll(() => running.gateway.stop())

const ASK = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }] } as const

describe('the SDK', () => {
  it('gets an answer piece by piece, with what the mesh is at, and whole', async () => {
    running.twin.script = async function* () {
      yield status('queued 1')
      yield started()
      yield tokens(0, 'Grüße')
      yield status('node lost, resuming on attic')
      yield started(2, 'attic')
      yield tokens(1, ' 😀')
      yield end('!', { promptTokens: 5, cachedTokens: 1, completionTokens: 3 }, 2)
    }
    const parts = []
    for await (const part of skein.chatStream({ ...ASK, localOnly: true, priority: 'bulk' })) parts.push(part)
    expect(parts.filter(({ type }) => type === 'status')).toEqual([
      { type: 'status', text: 'queued 1' },
      { type: 'status', text: 'node lost, resuming on attic' },
      { type: 'status', text: 'node attic' },
    ])
    expect(parts.at(-1)).toMatchObject({
      type: 'end',
      answer: {
        ...{ text: 'Grüße 😀!', finishReason: 'stop', resumed: 0 },
        usage: { promptTokens: 5, cachedTokens: 1, completionTokens: 3 },
      },
    })
    expect(running.twin.calls.at(-1)!.request).toMatchObject({ localOnly: true, priority: 'bulk' })
  })

  it('begins an answer in the background, and follows it', async () => {
    running.twin.script = says('Geese fly.')
    const kept = await skein.responses.begin({ model: 'tiny', input: 'hi' })
    let text = ''
    let ended
    for await (const part of skein.responses.follow(kept.id)) {
      if (part.type === 'text') text += part.text
      else ended = part.response
    }
    expect(text).toBe('Geese fly.')
    expect(ended).toMatchObject({ id: kept.id, status: 'completed', text: 'Geese fly.' })
    expect(await skein.responses.get(kept.id)).toMatchObject({ status: 'completed', text: 'Geese fly.' })
  })

  it('has the models, and is told what is wrong with a request', async () => {
    expect((await skein.models()).map(({ id }) => id)).toContain('tiny')
    await expect(skein.chat({ ...ASK, temperature: 9 })).rejects.toMatchObject({ status: 400, param: 'temperature' })
    await expect(skein.devices.get('nobody')).rejects.toMatchObject({ status: 404 })
    const stranger = new Skein({ url: running.gateway.url, apiKey: 'sk-wrong' })
    await expect(stranger.chat(ASK)).rejects.toMatchObject({ status: 401 })
  })

  it('gets a vector for each text', async () => {
    const vectors = [Float32Array.of(0.5, -0.25), Float32Array.of(1, 0)]
    running.twin.worker = embedsTo(...vectors.map(({ buffer }) => new Uint8Array(buffer)))
    expect(await skein.embed({ model: 'tiny', input: ['geese', 'rain'] })).toEqual(vectors)
  })
})

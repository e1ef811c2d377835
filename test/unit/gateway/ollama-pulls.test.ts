/** Ollama's pull and delete where the coordinator's machine has a node: what is told, to whom, and what is asked of the node. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ModelAdministration, PulledModel, PullProgress } from '../../../coordinator/gateway/index.ts'
import { OpenPulls, pullReference } from '../../../coordinator/gateway/ollama-pulls.ts'
import { asModelDigest, LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { TWIN_DIGEST, TWIN_MODEL } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, turns, type Harness } from './harness.ts'

const DIGEST = asModelDigest(`sha256:${'ab'.repeat(32)}`)

interface AskedPull extends PromiseWithResolvers<PulledModel> {
  readonly reference: string
  readonly onProgress: (progress: PullProgress) => void
  readonly signal: AbortSignal
}

/** Does what the test says. */
class ModelsTwin implements ModelAdministration {
  readonly served = new Set<ModelDigest>()
  readonly pulls: AskedPull[] = []
  readonly removed: string[] = []
  removing: (name: string) => void = () => {}

  serves(digest: ModelDigest): boolean {
    return this.served.has(digest)
  }

  pull(reference: string, onProgress: AskedPull['onProgress'], signal: AbortSignal): Promise<PulledModel> {
    const asked = { reference, onProgress, signal, ...Promise.withResolvers<PulledModel>() }
    this.pulls.push(asked)
    signal.addEventListener('abort', () => asked.reject(signal.reason))
    return asked.promise
  }

  async remove(name: string): Promise<void> {
    this.removed.push(name)
    this.removing(name)
  }
}

let models: ModelsTwin
let h: Harness
const restart = async (apiKey?: string): Promise<void> => {
  await h.gateway.stop()
  h = createHarness({ models, ...(apiKey !== undefined && { apiKey }) })
}
beforeEach(() => {
  models = new ModelsTwin()
  h = createHarness({ models })
})
afterEach(() => h.gateway.stop())

const lines = (body: string): unknown[] =>
  body
    .trimEnd()
    .split('\n')
    .map((each) => JSON.parse(each) as unknown)
const remove = (name: string, headers: Record<string, string> = {}) =>
  h.gateway.app.inject({ method: 'DELETE', url: '/api/delete', payload: { name }, headers })
const keyFor = async (routes: readonly string[]): Promise<Record<string, string>> => {
  const made = await h.post('/mesh/v1/keys', { name: 'x', routes }, { authorization: 'Bearer sk-test' })
  return { authorization: `Bearer ${(made.json() as { secret: string }).secret}` }
}
const progress = (doneBytes: number, state: PullProgress['state'] = 'pulling'): PullProgress => ({
  ...{ state, doneBytes, sizeBytes: 100, digest: DIGEST },
})

describe('a pull', () => {
  it('tells how far it is, the newest alone, and is done when clients can ask for the model', async () => {
    const answering = h.post('/api/pull', { name: 'hf.co/o/r:Q4_K_M' })
    await turns()
    const [asked] = models.pulls
    expect(asked!.reference).toBe('hf:o/r:Q4_K_M')
    asked!.onProgress(progress(0))
    await turns()
    for (const done of [1, 2, 40]) asked!.onProgress(progress(done))
    await h.clock.advance(200)
    asked!.onProgress(progress(100, 'checking'))
    asked!.resolve({ name: 'r-Q4_K_M', digest: DIGEST })
    await h.clock.advance(100)
    h.twin.modelViews = [TWIN_MODEL, { ...TWIN_MODEL, digest: DIGEST, aliases: ['r-Q4_K_M'] }]
    await h.clock.advance(100)
    const { statusCode, headers, body } = await answering
    expect([statusCode, headers['content-type']]).toEqual([200, 'application/x-ndjson'])
    const pulling = { status: 'pulling abababababab', digest: DIGEST, total: 100 }
    expect(lines(body)).toEqual([
      { status: 'pulling manifest' },
      { ...pulling, completed: 0 },
      { ...pulling, completed: 40 },
      { status: 'verifying sha256 digest', digest: DIGEST, total: 100, completed: 100 },
      { status: 'serving r-Q4_K_M', digest: DIGEST },
      { status: 'success' },
    ])
  })

  it('is told once with `stream: false`, and not before the model is there, but no longer than its owner keeps it away', async () => {
    let isAnswered = false
    const answering = h.post('/api/pull', { model: 'hf:o/r', stream: false }).finally(() => (isAnswered = true))
    await turns()
    models.pulls[0]!.resolve({ name: 'r', digest: DIGEST })
    await turns()
    await h.clock.advance(4900)
    expect(isAnswered).toBe(false)
    await h.clock.advance(200)
    expect((await answering).json()).toEqual({ status: 'success' })
  })

  it('says the last again while nothing comes', async () => {
    const answering = h.post('/api/pull', { name: 'hf:o/r' })
    await turns()
    models.pulls[0]!.onProgress(progress(7))
    await turns()
    await h.clock.advance(21_000)
    models.pulls[0]!.resolve({ name: 'adapter' })
    await h.clock.advance(200)
    const told = lines((await answering).body) as { completed?: number }[]
    expect(told.filter(({ completed }) => completed === 7)).toHaveLength(3)
    expect(told.at(-1)).toEqual({ status: 'success' })
  })

  it('that fails has its own status before something was told, and a line after', async () => {
    const early = h.post('/api/pull', { name: 'hf:o/r' })
    await turns()
    models.pulls[0]!.reject(new SkeinError('MODEL_PULL_FAILED', 'the hub is away'))
    expect(await early).toMatchObject({ statusCode: 502 })
    const late = h.post('/api/pull', { name: 'hf:o/r' })
    await turns()
    models.pulls[1]!.onProgress(progress(1))
    await turns()
    models.pulls[1]!.reject(new SkeinError('DISK_FULL', 'no room'))
    await h.clock.advance(200)
    const { statusCode, body } = await late
    expect(statusCode).toBe(200)
    expect(lines(body).at(-1)).toEqual({ error: expect.stringContaining('no room') })
  })

  it.each([
    ['hf.co/Owner/Repo', 'hf:Owner/Repo'],
    ['huggingface.co/o/r:latest', 'hf:o/r'],
    ['hf:o/r:Q8_0', 'hf:o/r:Q8_0'],
    ['goose', 'goose'],
    ['goose:latest', 'goose'],
    [DIGEST, DIGEST],
  ])('of %s asks for %s', (name, reference) => {
    expect(pullReference(name)).toBe(reference)
  })

  it.each(['llama3.2:1b', 'library/llama3.2', 'https://a.example/m.gguf', '/etc/passwd', '../m', 'ollama:m', 'file:m'])(
    'of %s is refused, and the way is named',
    async (name) => {
      const { statusCode, json } = await h.post('/api/pull', { name })
      expect(statusCode).toBe(400)
      expect(json().error).toContain('pull hf.co/OWNER/REPOSITORY')
      expect(models.pulls).toEqual([])
    },
  )

  it('of a name that nobody has says so, in time for a status', async () => {
    const answering = h.post('/api/pull', { name: 'llama3.2' })
    await turns()
    models.pulls[0]!.reject(new SkeinError('MODEL_NOT_STORED', 'no member'))
    const { statusCode, json } = await answering
    expect(statusCode).toBe(404)
    expect(json().error).toMatch(/'llama3\.2', and Ollama's library is not asked; pull hf\.co/)
  })

  it('of what the mesh has brings it here by its digest; where nobody gives it, it is there all the same', async () => {
    const ask = { name: 'tiny', stream: false }
    const answering = h.post('/api/pull', ask)
    await turns()
    expect(models.pulls[0]!.reference).toBe(TWIN_DIGEST)
    models.pulls[0]!.reject(new SkeinError('MODEL_NOT_STORED', 'no member'))
    expect((await answering).json()).toEqual({ status: 'success' })
    models.served.add(TWIN_DIGEST)
    expect((await h.post('/api/pull', ask)).json()).toEqual({ status: 'success' })
    expect(models.pulls).toHaveLength(1)
  })

  it('is one of a few', async () => {
    const waiting = Array.from({ length: LIMITS.apiPullsMax }, (_, i) => h.post('/api/pull', { name: `hf:o/r${i}` }))
    await turns()
    const { statusCode, headers } = await h.post('/api/pull', { name: 'hf:o/more' })
    expect([statusCode, headers['retry-after']]).toEqual([503, '60'])
    for (const { resolve } of models.pulls) resolve({ name: 'adapter' })
    await turns()
    for (const each of waiting) expect(await each).toMatchObject({ statusCode: 200 })
    const again = h.post('/api/pull', { name: 'hf:o/more' })
    await turns()
    models.pulls.at(-1)!.resolve({ name: 'adapter' })
    expect((await again).statusCode).toBe(200)
  })

  it('does not hold up a coordinator that stops: it ends with what is to be told', async () => {
    const answering = h.post('/api/pull', { name: 'hf:o/r' })
    await turns()
    models.pulls[0]!.onProgress(progress(3))
    await turns()
    const drained = h.gateway.drain()
    await h.clock.advance(200)
    await drained
    expect(lines((await answering).body).at(-1)).toEqual({ error: expect.stringContaining('what came is kept') })
  })

  it('of a client that hangs up is ended', async () => {
    const pulls = new OpenPulls(models)
    const client = new AbortController()
    const pulling = pulls.pull('hf:o/r', () => {}, client.signal)
    client.abort(new SkeinError('CLIENT_CLOSED', 'the client hung up'))
    await expect(pulling).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })
})

describe('a removal', () => {
  it('is done, and answered as Ollama does', async () => {
    const { statusCode, body } = await remove('tiny')
    expect([statusCode, body, models.removed]).toEqual([200, '', ['tiny']])
  })

  it('tries all readings of a name', async () => {
    models.removing = (name) => {
      if (name !== 'hf:o/r') throw new SkeinError('MODEL_NOT_STORED', 'not here')
    }
    expect((await remove('hf.co/o/r:latest')).statusCode).toBe(200)
    expect(models.removed).toEqual(['hf.co/o/r:latest', 'hf.co/o/r', 'hf:o/r'])
  })

  it('of what is in use, elsewhere or nowhere is refused', async () => {
    models.removing = () => {
      throw new SkeinError('MODEL_IN_USE', '2 requests run on it')
    }
    expect(await remove('tiny')).toMatchObject({ statusCode: 409, body: expect.stringContaining('2 requests') })
    models.removing = () => {
      throw new SkeinError('MODEL_NOT_STORED', 'not here')
    }
    const elsewhere = await remove('tiny')
    expect(elsewhere.statusCode).toBe(400)
    expect(elsewhere.json().error).toMatch(/at desk-pc with: skein rm tiny$/)
    expect((await remove('none')).statusCode).toBe(404)
  })
})

describe('a key', () => {
  beforeEach(() => restart('sk-test'))

  it('of the admin pulls and removes; others may do neither, and hear of what is there', async () => {
    const plain = await keyFor(['inference', 'mesh'])
    for (const [url, method] of [
      ['/api/pull', 'POST'],
      ['/api/delete', 'DELETE'],
    ] as const) {
      // prettier-ignore
      const name = method === 'POST' ? 'hf:o/r' : 'tiny'
      const answer = await h.gateway.app.inject({ method, url, payload: { name }, headers: plain })
      expect(answer.statusCode, url).toBe(403)
      expect(answer.json().error).toContain("'admin'")
    }
    expect([models.pulls, models.removed]).toEqual([[], []])
    expect((await h.post('/api/pull', { name: 'tiny', stream: false }, plain)).json()).toEqual({ status: 'success' })
    expect(models.pulls).toEqual([])
    expect((await remove('tiny', { authorization: 'Bearer sk-test' })).statusCode).toBe(200)
  })
})

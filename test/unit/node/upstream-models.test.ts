/** Which models of which servers a node offers, under which digests, and for how long. */
import { spawnSync } from 'node:child_process'
import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManualClock, silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { isOnOwnNetwork, isOnThisMachine, parseUpstreamPath, serverUrl, upstreamDigest, upstreamPath, USUAL_SERVERS } from '../../../node/engines/index.ts' // prettier-ignore
import { Digests, inspectUpstream, UpstreamModels, type ModelFile, type UpstreamModelsInit } from '../../../node/models/index.ts' // prettier-ignore
import { ensureModel } from '../../fixtures/models/index.ts'
import { FakeServer, type Answers } from '../../fixtures/upstream/fake-server.ts'
import { after, temporaryDirectory, until } from './support.ts'

interface Found {
  readonly server: FakeServer
  readonly clock: ManualClock
  readonly digests: Digests
  readonly offered: ModelFile[]
  readonly models: UpstreamModels
  look(): Promise<void>
}

async function start(answers: Answers, isNamed = true): Promise<Found> {
  const server = await FakeServer.start(answers)
  after(() => server.stop())
  const clock = new ManualClock()
  const digests = await Digests.open(join(await temporaryDirectory(), 'digests.json'), silentLogger)
  const offered: ModelFile[] = []
  let looks = 0
  const models = new UpstreamModels(
    {
      clock: Object.assign(Object.create(clock) as ManualClock, {
        timer: (ms: number, fire: () => void) => {
          if (ms === 5000) looks++
          return clock.timer(ms, fire)
        },
      }),
      log: silentLogger,
      digests,
      found: (file) => void (offered.includes(file) || offered.push(file)),
      lost: (file) => void offered.splice(offered.indexOf(file), 1),
    },
    addressesOf(server, isNamed),
    'peer-a',
  )
  after(() => models.stop())
  models.start()
  const seen = async (count: number): Promise<void> => until(`${count} looks`, () => looks >= count)
  await seen(1)
  const look = async (): Promise<void> => {
    const before = looks
    await clock.advance(5000)
    await seen(before + 1)
  }
  return { server, clock, digests, offered, models, look }
}

/** Named, or found at what counts as a usual address. */
const addressesOf = ({ url }: FakeServer, isNamed: boolean): UpstreamModelsInit =>
  isNamed ? { isAuto: false, named: [{ url }] } : { isAuto: true, named: [], usual: [url] }

const OPENAI: Answers = { '/v1/models': { data: [{ id: 'org/goose', owned_by: 'someone' }] } }

/** Ollama, with models by name: what `/api/show` says of each. */
const ollama = (models: Readonly<Record<string, { tag?: object; show?: object }>>): Answers => ({
  '/v1/models': { data: Object.keys(models).map((id) => ({ id, owned_by: 'library' })) },
  '/api/version': { version: '0.13.0' },
  '/api/tags': {
    models: Object.entries(models).map(([model, { tag }]) => ({ model, digest: 'ab'.repeat(32), size: 5, ...tag })),
  },
  '/api/show': (response, { body }) => {
    response.end(JSON.stringify(models[body['model'] as string]?.show ?? {}))
  },
})

describe('models of a server', () => {
  it('have the digest of their weights where those are a file of this machine', async () => {
    const weights = await ensureModel('tiny')
    const show = {
      modelfile: `# FROM goose:latest\nFROM ${weights}\nPARAMETER stop x`,
      parameters: 'num_ctx                        2048\nstop x',
      capabilities: ['completion', 'tools'],
      model_info: { 'llama.context_length': 4096 },
    }
    const { offered, digests, server } = await start(ollama({ 'goose:latest': { show } }))
    const { digest } = await digests.of(weights, new AbortController().signal)
    expect(offered).toHaveLength(1)
    expect(offered[0]).toMatchObject({
      engine: 'upstream',
      digest,
      contextTokens: 2048,
      hasChatTemplate: true,
      isOnDemand: true,
      isGenerator: true,
    })
    expect(offered[0]!.aliases.slice(0, 2)).toEqual(['goose:latest', 'goose'])
    expect(parseUpstreamPath(offered[0]!.path)).toEqual({ url: server.url, model: 'goose:latest', weights })
  })

  it('are never those of a cloud', async () => {
    const { offered } = await start(
      ollama({
        'big:cloud': {},
        'big:671b-cloud': {},
        'hidden:latest': { tag: { remote_host: 'https://ollama.com:443', remote_model: 'x' } },
        'shown:latest': { show: { remote_host: 'https://ollama.com:443' } },
      }),
    )
    expect(offered).toEqual([])
  })

  it('have other weights than their file when an adapter changes them', async () => {
    const weights = await ensureModel('tiny')
    const show = { modelfile: `FROM ${weights}\nADAPTER /somewhere` }
    const { offered, digests } = await start(ollama({ 'goose:latest': { show } }))
    const { digest } = await digests.of(weights, new AbortController().signal)
    expect(offered).toHaveLength(1)
    expect(offered[0]!.digest).not.toBe(digest)
    expect(parseUpstreamPath(offered[0]!.path).weights).toBeUndefined()
  })

  it.each(['a pipe', 'no model'])('whose weights are %s are not waited for, nor taken', async (what) => {
    const file = join(await temporaryDirectory(), 'x.gguf')
    await writeFile(file, 'no model')
    if (what === 'a pipe') expect(spawnSync('mkfifo', [`${file}.pipe`]).status).toBe(0)
    const path = what === 'a pipe' ? `${file}.pipe` : file
    const { offered } = await start(ollama({ 'goose:latest': { show: { modelfile: `FROM ${path}` } } }))
    expect(offered.map((each) => parseUpstreamPath(each.path).weights)).toEqual([undefined])
  })

  it('are offered of a server that nobody named only when they are known to run here', async () => {
    const inspect = (server: FakeServer, isNamed: boolean) =>
      inspectUpstream(new SystemClock(), addressesOf(server, isNamed))
    const named = await start(OPENAI)
    expect(named.offered.map(({ aliases }) => aliases)).toEqual([['org/goose', 'goose']])
    expect(await inspect(named.server, true)).toMatchObject([
      { kind: 'openai', models: [{ name: 'org/goose', isOffered: true }] },
    ])
    const found = await start(OPENAI, false)
    expect(found.offered).toEqual([])
    expect(await inspect(found.server, false)).toMatchObject([{ models: [{ isOffered: false }] }])
    const show = { modelfile: `FROM ${await ensureModel('tiny')}` }
    const known = await start(ollama({ 'goose:latest': { show }, 'gander:latest': { show: {} } }), false)
    expect(known.offered.map(({ aliases }) => aliases[0])).toEqual(['goose:latest'])
  })

  it('are not those of another Skein', async () => {
    const { offered } = await start({ '/v1/models': { data: [{ id: 'x', owned_by: 'skein' }] } })
    expect(offered).toEqual([])
    const header = await start({
      '/v1/models': (response) => {
        response.setHeader('x-skein-version', '1')
        response.end(JSON.stringify({ data: [{ id: 'x', owned_by: 'library' }] }))
      },
    })
    expect(header.offered).toEqual([])
  })

  it('go when the server does, after a look that it may miss, and come back with it', async () => {
    const { server, offered, look } = await start(OPENAI)
    const [first] = offered
    await look()
    expect(offered[0], 'the same one from look to look').toBe(first)
    server.answers = {}
    await look()
    expect(offered).toHaveLength(1)
    await look()
    expect(offered).toEqual([])
    server.answers = OPENAI
    await look()
    expect(offered).toHaveLength(1)
  })

  it('are others when their weights are', async () => {
    const file = join(await temporaryDirectory(), 'goose.gguf')
    await copyFile(await ensureModel('tiny'), file)
    const { offered, look } = await start(ollama({ 'goose:latest': { show: { modelfile: `FROM ${file}` } } }))
    const before = offered[0]!.digest
    await copyFile(await ensureModel('tools'), file)
    await look()
    expect(offered).toHaveLength(1)
    expect(offered[0]!.digest).not.toBe(before)
  })
})

describe('the digest of a model whose weights nobody can read', () => {
  const model = { kind: 'ollama', name: 'goose', url: 'http://127.0.0.1:1', owner: 'peer-a' }

  it('is that of one server alone, unless the server has a digest of its own', () => {
    const all = [
      model,
      { ...model, owner: 'peer-b' },
      { ...model, url: 'http://127.0.0.1:2' },
      { ...model, name: 'gander' },
      { ...model, kind: 'vllm' },
      { ...model, reported: 'a' },
      { ...model, reported: 'b' },
    ].map(upstreamDigest)
    expect(new Set(all).size).toBe(all.length)
    const elsewhere = { ...model, owner: 'peer-b', url: 'http://127.0.0.1:2', reported: 'a' }
    expect(upstreamDigest(elsewhere)).toBe(upstreamDigest({ ...model, reported: 'a' }))
  })

  it('is not the digest that the server reports', () => {
    const reported = 'ab'.repeat(32)
    expect(upstreamDigest({ ...model, reported })).not.toContain(reported)
  })
})

describe('addresses', () => {
  it('are kept in one form', () => {
    expect(serverUrl('http://127.0.0.1:8080/v1/')).toBe('http://127.0.0.1:8080')
    expect(serverUrl('https://box.lan/llm')).toBe('https://box.lan/llm')
    for (const text of ['', 'ftp://x', 'http://u:p@x', 'http://x?y', 'http://x#y', 'file:///etc/passwd'])
      expect(() => serverUrl(text), text).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error)
  })

  it('say whose machine it is, as far as they can', () => {
    for (const url of [...USUAL_SERVERS, 'http://localhost:1', 'http://[::1]:1', 'http://127.9.9.9'])
      expect(isOnThisMachine(url), url).toBe(true)
    for (const url of ['http://192.168.1.5', 'http://10.0.0.1', 'http://[fd00::1]', 'http://box', 'http://box.local'])
      expect([isOnThisMachine(url), isOnOwnNetwork(url)], url).toEqual([false, true])
    for (const url of [
      'https://api.example.com',
      'http://8.8.8.8',
      'http://[2001:db8::1]',
      'http://localhost.example.com',
    ])
      expect(isOnOwnNetwork(url), url).toBe(false)
  })

  it('of a model lead back to it', () => {
    for (const model of ['goose', 'llama3:8b', 'a&weights=b', '50%#1', '/path/to a/x.gguf'])
      for (const weights of [undefined, '/a/b&c.gguf']) {
        const address = { url: 'http://127.0.0.1:1', model, ...(weights !== undefined && { weights }) }
        expect(parseUpstreamPath(upstreamPath(address))).toEqual(address)
      }
    for (const path of ['upstream:', 'upstream:http://x', 'upstream:http://x#', 'upstream:ftp://x#y'])
      expect(() => parseUpstreamPath(path), path).toThrow()
  })
})

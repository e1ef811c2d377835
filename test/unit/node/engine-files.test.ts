/** What a node tells its engines of files: where KV states go, and which adapters change a model. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { LoadedModel, LoadRequest } from '../../../node/engines/index.ts'
import { adaptedDigest } from '../../../node/models/index.ts'
import { asModelDigest } from '../../../mesh/protocol/index.ts'
import { writeAdapter } from '../../fixtures/models/adapter.ts'
import { ggufBytes } from './gguf-bytes.ts'
import { setup } from './node-agent.harness.ts'
import { ScriptedEngine, temporaryDirectory, until } from './support.ts'

class NotingEngine extends ScriptedEngine {
  readonly #noted: LoadRequest[]

  constructor(noted: LoadRequest[]) {
    super()
    this.#noted = noted
  }

  override load(request: LoadRequest): Promise<LoadedModel> {
    this.#noted.push(request)
    return super.load(request)
  }
}

describe('engines are told', () => {
  it('where KV states go: a folder that is empty at first, and gone in the end', async () => {
    const dataDir = await temporaryDirectory()
    const dir = join(dataDir, 'kv-states')
    await mkdir(join(dir, 'engine-1'), { recursive: true })
    await writeFile(join(dir, 'engine-1', '1.kv'), 'what people said before a power cut')
    await writeFile(join(dataDir, 'model.gguf'), ggufBytes({ name: 'model' }))
    const noted: LoadRequest[] = []
    const { agent, clock } = await setup({
      dataDir,
      models: [join(dataDir, 'model.gguf'), 'echo:lab'],
      kvStatesBytesMax: 1000,
      engine: () => new NotingEngine(noted),
    })
    await agent.start()
    await until('all are loaded', () => noted.length === 2)
    expect(noted.find(({ path }) => path.endsWith('.gguf'))!.kvStates).toEqual({ dir, bytesMax: 1000 })
    expect(noted.find(({ path }) => path === 'echo:lab')!.kvStates).toBeUndefined()
    expect(await readdir(dataDir)).not.toContain('kv-states')
    await mkdir(join(dir, 'engine-2'), { recursive: true })
    let isStopped = false
    void agent.stop().then(() => (isStopped = true))
    await until('the agent stops', () => isStopped, { clock, stepMs: 500 })
    expect(await readdir(dataDir)).not.toContain('kv-states')
  })

  it('of none when there is no room for them', async () => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'model.gguf'), ggufBytes({ name: 'model' }))
    const noted: LoadRequest[] = []
    const { agent } = await setup({
      dataDir,
      models: [join(dataDir, 'model.gguf')],
      kvStatesBytesMax: 0,
      engine: () => new NotingEngine(noted),
    })
    await agent.start()
    await until('it is loaded', () => noted.length === 1)
    expect(noted[0]!.kvStates).toBeUndefined()
  })

  it('which adapters change a model, that the node then has beside the model itself', async () => {
    const dataDir = await temporaryDirectory()
    const [base, adapter] = [join(dataDir, 'model.gguf'), join(dataDir, 'style.gguf')]
    await writeFile(base, ggufBytes({ name: 'model' }))
    await writeAdapter(adapter, { token: 3, tensor: 'token_embd.weight', width: 4, vocabulary: 32 })
    const noted: LoadRequest[] = []
    const adapters = [{ path: adapter, scale: 0.5 }]
    const { agent } = await setup({
      dataDir,
      models: [base],
      adapted: [{ name: 'poet', base, adapters }],
      engine: () => new NotingEngine(noted),
    })
    await agent.start()
    await until('both are loaded', () => noted.length === 2)
    expect(agent.problems()).toEqual([])
    expect(noted.map((request) => request.adapters)).toEqual([undefined, adapters])
    expect(agent.models().map(({ isAdapted, capability }) => [isAdapted, capability.aliases[0]])).toEqual([
      [false, 'model'],
      [true, 'poet'],
    ])
    expect(noted[1]!.digest).toBe(agent.models()[1]!.capability.digest)
    expect(noted[1]!.digest).not.toBe(noted[0]!.digest)
  })
})

describe('the digest of a model with adapters', () => {
  const digest = (digit: string): ReturnType<typeof asModelDigest> => asModelDigest(`sha256:${digit.repeat(64)}`)
  const [base, a, b] = [digest('0'), digest('a'), digest('b')]

  it('is the same on every node', () => {
    expect(adaptedDigest(base, [{ digest: a, scale: 1 }])).toBe(DIGEST)
  })

  it('is another one for another base, adapter, scale and order', () => {
    const made = [
      adaptedDigest(base, [{ digest: a, scale: 1 }]),
      adaptedDigest(base, [{ digest: a, scale: 0 }]),
      adaptedDigest(base, [{ digest: a, scale: -1 }]),
      adaptedDigest(base, [{ digest: b, scale: 1 }]),
      adaptedDigest(a, [{ digest: a, scale: 1 }]),
      adaptedDigest(base, [{ digest: a, scale: 1 }, { digest: b, scale: 1 }]), // prettier-ignore
      adaptedDigest(base, [{ digest: b, scale: 1 }, { digest: a, scale: 1 }]), // prettier-ignore
    ]
    expect(new Set(made).size).toBe(made.length)
    expect(adaptedDigest(base, [{ digest: a, scale: -0 }])).toBe(made[1])
  })
})

/** Nodes of all builds must agree: a change of this figure breaks meshes of two builds. */
const DIGEST = 'sha256:89f0592c02da069ef1aa7d5b6ff398c55f9e911a2e9e57c573a2d5af883d6587'

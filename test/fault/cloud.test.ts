/**
 * All nodes of the owner's die while answers run: what may leave goes on at an endpoint of the cloud, and of what is local-only
 * not a byte gets there.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { startVllm, type VllmDouble } from '../fixtures/vllm/index.ts'
import { allBegun, expectWhole } from './harness/checks.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

/** Of each kind. */
const ANSWERS = 20
const TOKENS = 300
/** From the question on: it must outlast the beginning of all answers on a busy machine. */
const KEPT_MS = 15_000

describe("the owner's nodes are killed while answers run", () => {
  let mesh: FaultMesh
  let double: VllmDouble
  let dataDir: string

  beforeAll(async () => {
    const model = await ensureModel('tiny')
    dataDir = await mkdtemp(join(tmpdir(), 'skein-fault-'))
    double = await startVllm({ model, servedName: 'rented-model', slots: ANSWERS })
    const endpoint = {
      name: 'rented',
      url: `${double.url}/v1`,
      free: true,
      models: [{ name: 'rented-model', serves: model }],
      slots: ANSWERS,
    }
    await writeFile(join(dataDir, 'cloud.json'), JSON.stringify({ endpoints: [endpoint] }))
    const args = [
      '--model',
      model,
      '--upstream',
      'off',
      '--slots',
      String(ANSWERS),
      '--threads',
      '1',
      '--context',
      '512',
    ]
    mesh = await FaultMesh.start({ dataDir, nodes: ['left', 'right'].map((name) => ({ name, args })) })
    await eventually(
      'the endpoint is a node with the model',
      async () => {
        const { data } = await mesh.get<{ data: { aliases: string[]; nodes: { name: string }[] }[] }>('/mesh/v1/models')
        const tiny = data.find(({ aliases }) => aliases.includes('tiny'))
        return tiny?.nodes.some(({ name }) => name === 'rented') || undefined
      },
      60_000,
    )
  }, 120_000)
  afterAll(async () => {
    await mesh?.stop()
    await double?.stop()
    await rm(dataDir, { recursive: true, force: true })
  })

  it('all that may leave go on in the cloud, and nothing that is local-only does', async () => {
    const numbers = Array.from({ length: ANSWERS }, (_, i) => i)
    const kept = numbers.map((i) =>
      mesh.ask({
        model: 'tiny',
        prompt: `hush-${i}-hush`,
        maxTokens: 100_000,
        skein: { local_only: true, deadline_ms: KEPT_MS },
      }),
    )
    const free = numbers.map((i) => mesh.ask({ model: 'tiny', prompt: `tell ${i} of geese`, maxTokens: TOKENS }))
    await allBegun([...kept, ...free], 1)
    await Promise.all(mesh.names.map((name) => mesh.node(name).kill()))
    const before = free.map(({ text }) => text)
    let crossed = 0
    for (const [i, answer] of free.entries()) {
      const { attempts, tokens } = await expectWhole(mesh, answer)
      expect(tokens).toBe(TOKENS)
      expect(answer.text.startsWith(before[i]!)).toBe(true)
      const last = attempts.at(-1)!.assigned
      if (last.node.name !== 'rented') continue
      crossed++
      expect(last).toMatchObject({ leave: 'lost', route: 'cloud' })
      expect(last.from).toBeGreaterThan(0)
    }
    expect(crossed).toBe(ANSWERS)
    for (const answer of kept) {
      await answer.ended
      expect(answer.error?.message).toMatch(/local-only/)
      const { state, attempts } = await mesh.task(answer.taskId)
      expect(state).toBe('failed')
      expect(attempts.map(({ assigned }) => assigned.node.name)).not.toContain('rented')
    }
    const received = double.received().toString('latin1')
    expect(received).toContain('/v1/')
    expect(received).not.toContain('hush-')
  })
})

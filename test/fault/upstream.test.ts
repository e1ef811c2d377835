/**
 * A server that a node had found dies while answers come from it: they go on at a node that has the same weights, and
 * the server is of use again when it is back. It takes answers over, too.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { freePort, hasServer, startServer, type StartedServer } from '../fixtures/upstream/servers.ts'
import { allBegun, expectWhole } from './harness/checks.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

const CONTEXT_TOKENS = 1024
/** The one that CI has, else the other one, which makes one answer at a time. */
const SERVER = hasServer('llama-server') ? 'llama-server' : 'llama-cpp-python'
const SLOTS = SERVER === 'llama-server' ? 2 : 1
const TOKENS = 400
/** A hand-over is prepared while it lasts. */
const LONG_TOKENS = 900

it('has the server that CI must have', () => {
  if (process.env['CI'] === 'true') expect(hasServer('llama-server'), 'an interpreter with xllamacpp').toBe(true)
})

describe.skipIf(!hasServer(SERVER))('an upstream server that dies', () => {
  let mesh: FaultMesh
  let server: StartedServer
  let init: { model: string; slots: number; contextTokens: number; port: number }

  beforeAll(async () => {
    init = { model: await ensureModel('tiny'), slots: SLOTS, contextTokens: CONTEXT_TOKENS, port: await freePort() }
    server = await startServer(SERVER, init)
    const own = ['--model', init.model, '--upstream', 'off', '--slots', '2', '--threads', '1', '--context', '1024']
    mesh = await FaultMesh.start({
      nodes: [
        { name: 'upstream', args: ['--model', 'echo:spare', '--upstream', server.url], models: 2 },
        { name: 'llama', args: own },
      ],
    })
  })
  afterAll(async () => {
    await mesh?.stop()
    await server?.kill()
  })

  const direct = async (name: string, directive: 'cordon' | 'uncordon'): Promise<void> => {
    const path = `${mesh.http}/mesh/v1/nodes/${name}/${directive}`
    expect((await fetch(path, { method: 'POST' })).ok, path).toBe(true)
  }
  const only = async <T>(name: 'upstream' | 'llama', work: () => Promise<T>): Promise<T> => {
    const other = name === 'llama' ? 'upstream' : 'llama'
    await direct(other, 'cordon')
    const value = await work()
    await direct(other, 'uncordon')
    return value
  }

  it('its answers go on at the node with the same weights, letter for letter', async () => {
    const ask = (i: number) => mesh.ask({ model: 'tiny', prompt: `tell ${i} of geese`, maxTokens: TOKENS })
    const unbroken: string[] = []
    await only('llama', async () => {
      for (let i = 0; i < SLOTS; i++) {
        const answer = ask(i)
        await expectWhole(mesh, answer)
        unbroken.push(answer.text)
      }
    })
    const answers: ReturnType<typeof ask>[] = []
    await only('upstream', async () => {
      answers.push(...Array.from({ length: SLOTS }, (_, i) => ask(i)))
      await allBegun(answers)
    })
    expect(answers.some(({ hasEnded }) => hasEnded)).toBe(false)
    await server.kill()
    for (const [i, answer] of answers.entries()) {
      const task = await expectWhole(mesh, answer)
      expect(task.tokens).toBe(TOKENS)
      const [first, ...others] = task.attempts
      expect(first!.assigned.node.name).toBe('upstream')
      expect(first!.ended?.code).toBe('ENGINE_CRASHED')
      expect(first!.ended?.to).toBeGreaterThan(0)
      expect(others.at(-1)!.assigned.node.name).toBe('llama')
      // the engine that goes on is another build of the same weights: greedy, and all the same
      expect(answer.text).toBe(unbroken[i])
    }
  })

  it('is not offered while it is away, and of use again when it is back', async () => {
    const modelsOf = async (): Promise<number | undefined> => {
      const { data } = await mesh.get<{ data: { name: string; models: unknown[] }[] }>('/mesh/v1/nodes')
      return data.find(({ name }) => name === 'upstream')?.models.length
    }
    await eventually('its model is gone', async () => (await modelsOf()) === 1 || undefined, 60_000)
    server = await startServer(SERVER, init)
    await eventually('its model is back', async () => (await modelsOf()) === 2 || undefined, 60_000)
    await only('upstream', async () => {
      const answer = mesh.ask({ model: 'tiny', prompt: 'tell of geese', maxTokens: 20 })
      await allBegun([answer], 1)
      expect((await expectWhole(mesh, answer)).attempts.at(-1)!.assigned.node.name).toBe('upstream')
    })
  })

  it('takes an answer over from a node that leaves', async () => {
    const answer = await only('llama', async () => {
      const asked = mesh.ask({ model: 'tiny', prompt: 'tell of geese', maxTokens: LONG_TOKENS })
      await allBegun([asked])
      return asked
    })
    expect(answer.hasEnded).toBe(false)
    expect(await mesh.node('llama').stop('SIGTERM')).toBe(0)
    const { attempts, tokens } = await expectWhole(mesh, answer)
    expect(tokens).toBe(LONG_TOKENS)
    expect(attempts[0]!.assigned.node.name).toBe('llama')
    expect(attempts.at(-1)!.assigned).toMatchObject({ reason: 'drain', node: { name: 'upstream' } })
    expect(attempts.at(-1)!.assigned.from).toBeGreaterThan(0)
  })
})

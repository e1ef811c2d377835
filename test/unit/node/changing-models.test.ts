/** Models that come to a running node, and leave it. */
import { describe, expect, it } from 'vitest'
import { echoDigest } from '../../../node/engines/index.ts'
import { join2, MODEL, setup, startAttempt } from './node-agent.harness.ts'
import { ScriptedEngine, until } from './support.ts'

const DIGEST = echoDigest(MODEL)

describe('a model of a running node', () => {
  it('stays while something runs on it, and can come again once it has left', async () => {
    const engine = new ScriptedEngine()
    const { agent, network, clock, transport } = await setup({ engine: () => engine })
    const home = join2(network, clock)
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
    await until('the model is resident', () => agent.models()[0]?.capability.residency === 'resident')
    const channel = await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    await expect(agent.exclude(DIGEST)).rejects.toMatchObject({ code: 'MODEL_IN_USE' })
    expect(agent.models()).toHaveLength(1)
    await channel.send({ type: 'attempt.cancel', fence: 1 })
    await until('the slot is free', () => agent.status().running === 0)
    await agent.exclude(DIGEST)
    await agent.exclude(DIGEST)
    expect(agent.models()).toEqual([])
    await until('coordinators are told', () => agent.announced()?.length === 0, { clock, stepMs: 100 })
    await agent.include(MODEL)
    await agent.include(MODEL)
    expect(agent.models().map(({ capability }) => capability.digest)).toEqual([DIGEST])
    await until('coordinators are told', () => agent.announced()?.length === 1, { clock, stepMs: 100 })
  })

  it('that cannot be used is a problem, and no model', async () => {
    const { agent } = await setup({ models: [] })
    await agent.start()
    await agent.include('/no/such/file.gguf')
    expect(agent.models()).toEqual([])
    expect(agent.problems()).toMatchObject([{ path: '/no/such/file.gguf', error: { code: 'MODEL_FILE_INVALID' } }])
  })
})

/** What the owner's policy does to a node, as its coordinators see it. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { LoadReport } from '../../../mesh/protocol/index.ts'
import { silentLogger } from '../../../mesh/runtime/index.ts'
import { NOTHING_KNOWN, OwnerPolicy, writePause, type Observations } from '../../../node/policy/index.ts'
import { join2, setup, startAttempt, type ControlTwin } from './node-agent.harness.ts'
import { ScriptedEngine, temporaryDirectory, until } from './support.ts'

async function policed(file: string, init: { engine?: () => ScriptedEngine } = {}) {
  const dataDir = await temporaryDirectory()
  await writeFile(join(dataDir, 'policy.toml'), file)
  const seen: { now: Partial<Observations> } = { now: {} }
  const made = await setup({
    ...init,
    dataDir,
    policy: (clock) =>
      new OwnerPolicy(
        {
          clock,
          log: silentLogger,
          senses: { wallMs: () => clock.wallMs(), read: async () => ({ ...NOTHING_KNOWN, ...seen.now }) },
        },
        { dataDir },
      ),
  })
  const says = (home: ControlTwin, expected: Partial<LoadReport>): Promise<void> =>
    until(
      `it says ${JSON.stringify(expected)}`,
      () => {
        const load = home.loads().at(-1)
        return load !== undefined && Object.entries(expected).every(([key, value]) => load[key as keyof LoadReport] === value) // prettier-ignore
      },
      { clock: made.clock, stepMs: 50 },
    )
  return { ...made, seen, says }
}

describe('a node under its owner’s policy', () => {
  it('says from its first report on that it is paused, and why', async () => {
    const { agent, network, clock, seen, says } = await policed('[power]\nsource = "mains"\n')
    seen.now = { power: 'battery' }
    const home = join2(network, clock)
    await agent.start()
    await says(home, { cordoned: true, draining: true, paused: 'on battery' })
    expect(home.loads()[0]).toMatchObject({ cordoned: true, draining: true, paused: 'on battery' })
    expect(agent.status()).toMatchObject({ isCordoned: true, policy: { reason: 'on battery', handsOver: true } })
    seen.now = { power: 'mains' }
    await says(home, { cordoned: false, draining: false, paused: undefined as never })
  })

  it('refuses new work while it is closed, and cuts nothing that runs', async () => {
    const engine = new ScriptedEngine()
    const { agent, network, clock, transport, dataDir, says } = await policed('', { engine: () => engine })
    const home = join2(network, clock)
    await agent.start()
    await until('the model is resident', () => agent.models()[0]?.capability.residency === 'resident')
    const running = await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    await writePause(dataDir, { sinceMs: 0 })
    await says(home, { draining: true, paused: 'paused by its owner' })
    const refused = await startAttempt(home, transport, 'b')
    expect(await refused.receive()).toMatchObject({ type: 'attempt.failed', code: 'NODE_DRAINING' })
    engine.attempts[0]!.tokens([1, 2])
    engine.attempts[0]!.end()
    const types: string[] = []
    for (let frame = await running.receive(); frame !== undefined; frame = await running.receive())
      types.push(frame.type)
    expect(types.filter((type) => type !== 'attempt.progress')).toEqual(['attempt.accepted', 'attempt.tokens', 'attempt.end']) // prettier-ignore
  })

  it('keeps what its owner has cordoned apart from what its policy has closed', async () => {
    const { agent, network, clock, dataDir, says } = await policed('')
    const home = join2(network, clock)
    await agent.start()
    await says(home, { cordoned: false })
    await home.channel.send({ type: 'control.directive', directive: 'cordon' })
    await says(home, { cordoned: true, draining: false })
    await writePause(dataDir, { sinceMs: 0 })
    await says(home, { cordoned: true, draining: true, paused: 'paused by its owner' })
    // the policy opens: the owner's word stands
    await writePause(dataDir, undefined)
    await says(home, { cordoned: true, draining: false, paused: undefined as never })
    // and the other way round
    await writePause(dataDir, { sinceMs: 0 })
    await says(home, { draining: true })
    await home.channel.send({ type: 'control.directive', directive: 'uncordon' })
    await clock.advance(1000)
    await says(home, { cordoned: true, draining: true, paused: 'paused by its owner' })
    await writePause(dataDir, undefined)
    await says(home, { cordoned: false, draining: false })
  })

  it('lets answers end here when a quota is used up that says so', async () => {
    const engine = new ScriptedEngine()
    const { agent, network, clock, transport, says } = await policed('[quota]\ntokens_per_day = 10\n', {
      engine: () => engine,
    })
    const home = join2(network, clock)
    await agent.start()
    await until('the model is resident', () => agent.models()[0]?.capability.residency === 'resident')
    await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    // the prompt's tokens count, and once, however many of them the end tells
    engine.attempts[0]!.progress(2, 4)
    engine.attempts[0]!.progress(4, 4)
    engine.attempts[0]!.tokens([1, 2, 3, 4, 5])
    engine.attempts[0]!.end()
    await until('it has ended', () => agent.status().running === 0)
    expect(agent.status().policy!.usage).toEqual({ requests: 1, tokens: 9, wattHours: 0 })
    await startAttempt(home, transport, 'b')
    await until('another runs', () => engine.attempts.length === 2)
    engine.attempts[1]!.tokens([1])
    await says(home, { cordoned: true, draining: false, paused: "today's 10 tokens are used up" })
    expect(agent.status().running).toBe(1)
  })

  it('announces the models that others may use, and no other', async () => {
    const { agent, network, clock, transport, dataDir } = await policed('[access]\nmodels = ["large*"]\n')
    const home = join2(network, clock)
    await agent.start()
    await until('it is announced', () => home.records().length > 0)
    await until('its model is there', () => agent.models()[0]?.capability.residency === 'resident')
    expect(home.records().at(-1)!.models).toEqual([])
    const refused = await startAttempt(home, transport)
    expect(await refused.receive()).toMatchObject({ type: 'attempt.failed', code: 'MODEL_NOT_FOUND' })
    await writeFile(join(dataDir, 'policy.toml'), '[access]\nmodels = ["lab"]\n')
    await until('it is announced after all', () => home.records().at(-1)!.models.length === 1, { clock, stepMs: 50 })
  })

  it('serves the coordinators that its owner names; to others it is paused', async () => {
    const { agent, network, clock, transport, says } = await policed('[access]\ncoordinators = ["home"]\n')
    const home = join2(network, clock, 'home')
    const other = join2(network, clock, 'other')
    await agent.start()
    await says(home, { cordoned: false, draining: false, paused: undefined as never })
    await says(other, { cordoned: true, draining: true, paused: 'its owner does not serve this coordinator' })
    const refused = await startAttempt(other, transport)
    expect(await refused.receive()).toMatchObject({ code: 'NOT_SERVED' })
    const accepted = await startAttempt(home, transport, 'b')
    expect(await accepted.receive()).toMatchObject({ type: 'attempt.accepted' })
  })

  it('serves the tenants that its owner names, says so in its record, and refuses others whatever their coordinator knew', async () => {
    const { agent, network, clock, transport, dataDir, says } = await policed('[access]\ntenants = ["anna", "key:*"]\n')
    const home = join2(network, clock)
    await agent.start()
    await says(home, { cordoned: false, draining: false })
    await until('the model is resident', () => agent.models()[0]?.capability.residency === 'resident')
    expect(home.records()[0]!.access).toEqual({ tenants: ['anna', 'key:*'] })
    const first = async (letter: string, tenant?: string): Promise<unknown> => {
      const channel = await startAttempt(home, transport, letter, tenant === undefined ? {} : { tenant })
      return channel.receive()
    }
    const refusal = { type: 'attempt.failed', code: 'NOT_SERVED', message: 'its owner does not serve this tenant' }
    expect(await first('a', 'ben')).toMatchObject(refusal)
    expect(await first('b')).toMatchObject(refusal)
    expect(agent.status().policy!.usage.requests).toBe(0)
    expect(await first('c', 'anna')).toMatchObject({ type: 'attempt.accepted' })
    expect(await first('d', 'key:0123')).toMatchObject({ type: 'attempt.accepted' })
    // without a restart
    await writeFile(join(dataDir, 'policy.toml'), '')
    await until('everyone is served', () => home.records().at(-1)!.access === undefined, { clock, stepMs: 50 })
    expect(await first('e', 'ben')).toMatchObject({ type: 'attempt.accepted' })
  })
})

/** The fleet together with dispatch: a task that nothing in the house can take has a machine launched, and waits for it. */
import { describe, expect, it } from 'vitest'
import type { PoolSettings } from '../../../coordinator/cloud/index.ts'
import { createFleet, leaseDesk } from '../../../coordinator/fleet.ts'
import type { Orchestrator } from '../../../coordinator/cloud/index.ts'
import { asPeerId } from '../../../mesh/protocol/index.ts'
import { SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { MemoryProvider } from '../../fixtures/providers/memory-provider.ts'
import { answers, DispatchHarness, TEXT } from '../coordinator/dispatch.harness.ts'
import { MINUTE_MS, POOL, QUOTE } from './support.ts'

const LARGE = { contextTokens: 100_000, slots: 4 }

interface Mesh {
  readonly harness: DispatchHarness
  readonly fleet: Orchestrator
  readonly provider: MemoryProvider
  readonly told: string[]
}

/** A house whose one node can hold nothing of what is asked, and a pool that could. */
async function meshOf(pool: Partial<PoolSettings> = {}, budgetMicros = 10_000_000): Promise<Mesh> {
  const harness = new DispatchHarness({ budgetMicros })
  const { clock, directory, dispatcher, ledger } = harness
  harness.node('home', 1000, [answers], { model: { contextTokens: 1 } })
  const told: string[] = []
  const provider = new MemoryProvider(clock, {
    ...{ flavours: { gpu: QUOTE }, bootMs: 30_000, settleMs: 0, answerMs: 0 },
    onRunning: ({ order: { name } }) => {
      const { peerId } = harness.node(name, 1000, [answers], { tier: 'cloud', model: LARGE }).self
      directory.report(peerId, { sequence: 1, draining: false, cordoned: false, memoryFreeBytes: 1, models: [] })
    },
  })
  const fleet = createFleet(
    {
      ...{ clock, directory, dispatcher, ledger, log: silentLogger, random: new SeededRandom(3) },
      control: { direct: async (_peer, directive) => void told.push(directive) },
      membership: {
        isAuthority: true,
        invite: async ({ uses, validMs }) => ({ invite: `skein1 ${uses}`, uses, expiresAtMs: validMs }),
        revoke: async (name) => ({ peerId: asPeerId(name), name }),
      },
    },
    {
      pools: [{ ...POOL, serves: ['tiny'], contextTokens: LARGE.contextTokens, ...pool }],
      providers: new Map([['cloud', provider]]),
    },
  )
  await harness.settled(fleet.start())
  await clock.advance(6000)
  return { harness, fleet, provider, told }
}

const long = { prompt: { kind: 'text', text: 'why '.repeat(50) } } as const

describe('a task that only a machine of a pool could take', () => {
  it('is let in, waits longer than others for its cold start, and is answered there', async () => {
    const { harness, provider } = await meshOf()
    const task = harness.task(long)
    harness.dispatcher.check(task)
    const following = harness.follow(await harness.submit(task))
    await following.over(1000)
    expect(following.error).toBeUndefined()
    expect(following.text).toBe(TEXT)
    expect(provider.machines.size).toBe(1)
    expect(following.nodes[0]).toMatch(/^skein-/)
  })

  it('shows the pool among its candidates, with its cold start', async () => {
    const { harness } = await meshOf()
    const [node] = harness.directory.snapshot().nodes.filter(({ isComing }) => isComing)
    expect(node).toMatchObject({ name: 'pool big', isCloud: true })
    expect([...node!.models.values()][0]).toMatchObject({ slotFreeMs: [QUOTE.readyMs] })
  })

  it('is refused when its deadline comes before the machine would', async () => {
    const { harness, provider } = await meshOf()
    const task = harness.task({ ...long, deadlineAtMs: harness.clock.wallMs() + QUOTE.readyMs - 1000 })
    expect(() => harness.dispatcher.check(task)).toThrow(expect.objectContaining({ code: 'DEADLINE_UNREACHABLE' }))
    expect(provider.calls.launch).toBe(0)
  })

  it('is refused when it is not to leave, or no pool may launch', async () => {
    const { harness } = await meshOf()
    expect(() => harness.dispatcher.check(harness.task({ ...long, localOnly: true }))).toThrow()
    const { harness: without } = await meshOf({ max: 0 })
    expect(() => without.dispatcher.check(without.task(long))).toThrow()
  })

  it('has nothing launched without money, and is told so', async () => {
    const { harness, provider } = await meshOf({}, 0)
    const following = harness.follow(await harness.submit(harness.task(long)))
    await following.over(1000)
    expect(following.error).toMatchObject({ name: 'SkeinError' })
    expect(provider.calls.launch).toBe(0)
  })
})

describe('the desk of leases', () => {
  it('tells of machines without their invites, and ends one after it was drained', async () => {
    const { harness, fleet, provider, told } = await meshOf({ min: 1 })
    await harness.clock.advance(2 * MINUTE_MS)
    const desk = leaseDesk(fleet)
    const [lease] = desk.leases()
    expect(lease).toMatchObject({ phase: 'ready', pool: 'big', running: 0, slots: 4, microsPerHour: 600_000 })
    expect(JSON.stringify(desk.leases())).not.toContain('skein1')
    expect(desk.end(lease!.id).phase).toBe('leaving')
    await harness.clock.advance(3 * MINUTE_MS)
    expect(told).toEqual(['drain'])
    expect(provider.machines.get('m-1')?.goneMs).toBeDefined()
  })
})

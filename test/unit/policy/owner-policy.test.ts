/** The policy of a data directory on a clock that the test moves and senses that it plays. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { asPeerId, LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import {
  NOTHING_KNOWN,
  OwnerPolicy,
  policyTemplate,
  writePause,
  type Observations,
  type Sense,
  type Senses,
} from '../../../node/policy/index.ts'
import { after, digestOf, temporaryDirectory, turn, until } from '../node/support.ts'

/** A Saturday, 22:00 in UTC. */
const EVENING = Date.parse('2026-11-21T22:00:00Z')

const STEP_MS = 50
/** Some hours. */
const STEPS_MAX = 100_000

class PlayedSenses implements Senses {
  readonly #clock: ManualClock
  seen: Partial<Observations> = {}
  asked: ReadonlySet<Sense> = new Set()

  constructor(clock: ManualClock) {
    this.#clock = clock
  }

  wallMs(): number {
    return this.#clock.wallMs()
  }

  async read(wanted: ReadonlySet<Sense>): Promise<Observations> {
    this.asked = wanted
    return { ...NOTHING_KNOWN, ...this.seen }
  }
}

async function setup(
  init: { file?: string; dataDir?: string; clock?: ManualClock; estimatedWatts?: () => number } = {},
) {
  const clock = init.clock ?? new ManualClock(EVENING)
  const dataDir = init.dataDir ?? (await temporaryDirectory())
  if (init.file !== undefined) await writeFile(join(dataDir, 'policy.toml'), init.file)
  const senses = new PlayedSenses(clock)
  const policy = new OwnerPolicy({ clock, log: silentLogger, senses }, { dataDir })
  const reasons: (string | undefined)[] = []
  let isServing = false
  policy.listen({
    changed: () => reasons.push(policy.status().reason),
    isServing: () => isServing,
    ...(init.estimatedWatts && { estimatedWatts: init.estimatedWatts }),
  })
  after(() => policy.stop())
  await policy.start()
  /** Time stands still while files are read: between two looks there is a timer. */
  const step = async (): Promise<void> => {
    await clock.advance(STEP_MS)
    await turn()
    await until('it has looked', () => clock.pendingTimers > 0)
  }
  /** Time passes until `condition` holds. */
  const waits = async (what: string, condition: () => boolean): Promise<void> => {
    for (let steps = 0; !condition(); steps++) {
      if (steps > STEPS_MAX) expect.fail(`never happened: ${what}`)
      await step()
    }
  }
  const made = {
    clock,
    dataDir,
    senses,
    policy,
    reasons,
    serve: () => (isServing = true),
    reason: () => policy.status().reason,
    save: (text: string) => writeFile(join(dataDir, 'policy.toml'), text),
    becomes: (expected: string | undefined) => waits(`it says ${expected}`, () => policy.status().reason === expected),
    waits,
    pass: async (ms: number) => {
      for (let passed = 0; passed < ms; passed += STEP_MS) await step()
    },
  }
  return made
}

describe('the policy of a data directory', () => {
  it('lets coordinators order loads unless it says otherwise, and fetches only where that is said and the link is free', async () => {
    const { policy, senses, reasons, save, waits } = await setup()
    expect([policy.replicas, senses.asked.has('metered')]).toEqual(['load', false])
    senses.seen = { metered: true }
    await save('[access]\nreplicas = "fetch"')
    await waits('it looks at the link', () => senses.asked.has('metered'))
    expect(policy.replicas).toBe('load')
    senses.seen = { metered: false }
    await waits('it lets models be fetched', () => policy.replicas === 'fetch')
    // told to the coordinators, though it served all the time
    expect(reasons.length).toBeGreaterThan(0)
    expect(reasons.every((reason) => reason === undefined)).toBe(true)
    senses.seen = {}
    await save('when_unknown = "pause"\n[access]\nreplicas = "fetch"')
    await waits('it does not know', () => policy.replicas === 'load')
    await save('[access]\nreplicas = "off"')
    await waits('it takes no orders', () => policy.replicas === 'off')
  })

  it('is written at the first start, and lets the node serve', async () => {
    const { dataDir, policy } = await setup()
    expect(await readFile(join(dataDir, 'policy.toml'), 'utf8')).toBe(policyTemplate())
    expect(policy.status()).toEqual({
      handsOver: false,
      unknown: [],
      usage: { requests: 0, tokens: 0, wattHours: 0 },
    })
  })

  it('holds when it has started', async () => {
    const { reason, policy } = await setup({ file: '[hours]\nzone = "UTC"\nwindows = ["08:00-20:00"]' })
    expect(reason()).toBe('outside its hours until sun 08:00')
    expect(policy.status()).toMatchObject({ handsOver: true, untilMs: Date.parse('2026-11-22T08:00:00Z') })
  })

  it('closes and opens with the hours', async () => {
    const { becomes, clock, reasons, pass } = await setup({ file: '[hours]\nzone = "UTC"\nwindows = ["21:00-22:01", "22:02-23:00"]' }) // prettier-ignore
    await pass(59_000)
    expect(reasons).toEqual([])
    await becomes('outside its hours until 22:02')
    expect(clock.nowMs()).toBeLessThanOrEqual(60_000 + LIMITS.policyLookMs)
    await becomes(undefined)
    expect(clock.nowMs()).toBeLessThanOrEqual(120_000 + LIMITS.policyLookMs)
  })

  it('is taken over as soon as it is saved, without a restart, and asks for what it needs', async () => {
    const { save, becomes, senses } = await setup()
    senses.seen = { power: 'battery' }
    await save('[power]\nsource = "mains"\n')
    await becomes('on battery')
    expect(senses.asked).toEqual(new Set(['power']))
    await save('')
    await becomes(undefined)
  })

  it('is never half of a file that is being written', async () => {
    const { save, senses, pass, reasons, becomes } = await setup({ file: '[power]\nsource = "mains"\n' })
    senses.seen = { power: 'battery' }
    await becomes('on battery')
    reasons.length = 0
    // an editor empties it first, and takes its time
    for (let i = 0; i < 20; i++) {
      await save(i < 10 ? '' : '[power]\n')
      await pass(50)
    }
    await save('[power]\nsource = "mains"\n# done\n')
    await pass(4000)
    expect(reasons).toEqual([])
  })

  it('that is wrong leaves the last valid one in force, and says so until it is corrected', async () => {
    const { save, becomes, policy, senses, reason, waits } = await setup({
      file: '[power]\nsource = "mains"\n',
    })
    senses.seen = { power: 'battery' }
    await becomes('on battery')
    await save('[power]\nsource = "sun"\n')
    await waits('it says what is wrong', () => policy.status().problem !== undefined)
    expect(policy.status().problem!.message).toContain('line 2: power.source is "sun"')
    expect(reason()).toBe('on battery')
    await save('# fine\n')
    await becomes(undefined)
    expect(policy.status()).not.toHaveProperty('problem')
  })

  it('that is wrong at a start gives way to the last valid one', async () => {
    const first = await setup({ file: '[access]\nmodels = ["tiny"]\n' })
    await first.policy.stop()
    const again = await setup({ dataDir: first.dataDir, file: '[access]\nmodels = 5\n' })
    expect(again.policy.allows(digestOf('a'), ['tiny'])).toBe(true)
    expect(again.policy.allows(digestOf('a'), ['large'])).toBe(false)
    expect(again.policy.status().problem!.message).toContain('line 2')
    expect(again.reason()).toBeUndefined()
  })

  it('that is wrong at the first start pauses the node: what its owner wants is not known', async () => {
    const { reason, policy, save, becomes } = await setup({ file: 'nonsense' })
    expect(reason()).toBe('policy.toml has an error')
    expect(policy.status().handsOver).toBe(true)
    await save('')
    await becomes(undefined)
  })

  it('stays in force while its file is gone', async () => {
    const { dataDir, becomes, senses, pass, reason } = await setup({ file: '[power]\nsource = "mains"\n' })
    senses.seen = { power: 'battery' }
    await becomes('on battery')
    await rm(join(dataDir, 'policy.toml'))
    await pass(10_000)
    expect(reason()).toBe('on battery')
  })
})

describe('a pause', () => {
  it('holds at once, until it is over or resumed', async () => {
    const { dataDir, becomes, clock, policy, waits } = await setup()
    await writePause(dataDir, { sinceMs: 0 })
    await becomes('paused by its owner')
    await writePause(dataDir, undefined)
    await becomes(undefined)
    const untilMs = clock.wallMs() + 120_000
    await writePause(dataDir, { sinceMs: 0, untilMs })
    await waits('it is paused for a time', () => policy.status().untilMs === untilMs)
    await becomes(undefined)
    expect(clock.wallMs()).toBeGreaterThanOrEqual(untilMs)
  })

  it('outlives a restart, and holds when its file is damaged', async () => {
    const dataDir = await temporaryDirectory()
    await writePause(dataDir, { sinceMs: 0 })
    expect((await setup({ dataDir })).reason()).toBe('paused by its owner')
    for (const damaged of ['', '{', '{"sinceMs":"x"}', 'null', '{"sinceMs":1,"untilMs":-1}']) {
      await writeFile(join(dataDir, 'pause.json'), damaged)
      expect((await setup({ dataDir })).reason(), damaged).toBe('paused by its owner')
    }
  })

  it('cannot be written where there is no directory', async () => {
    await expect(writePause(join(await temporaryDirectory(), 'none'), { sinceMs: 0 })).rejects.toMatchObject({
      code: 'DATA_DIR_UNUSABLE',
    })
  })
})

describe('quotas', () => {
  const FILE = '[hours]\nzone = "UTC"\n[quota]\nrequests_per_day = 3\ntokens_per_day = 100\n'
  const USED_UP = "today's 100 tokens are used up"

  it('close the node in the same turn, and let answers end', async () => {
    const { policy, reason } = await setup({ file: FILE })
    policy.used({ requests: 1 })
    policy.used({ tokens: 99 })
    expect(reason()).toBeUndefined()
    policy.used({ tokens: 1 })
    expect(reason()).toBe(USED_UP)
    expect(policy.status()).toMatchObject({
      handsOver: false,
      untilMs: Date.parse('2026-11-22T00:00:00Z'),
      usage: { requests: 1, tokens: 100 },
    })
    policy.used({ requests: 2 })
    await until('both are told', () => reason() === USED_UP)
  })

  it('survive a restart, and begin anew at midnight of the owner', async () => {
    const first = await setup({ file: FILE })
    first.policy.used({ requests: 1, tokens: 100 })
    await first.policy.stop()
    const again = await setup({ dataDir: first.dataDir, clock: first.clock })
    expect(again.reason()).toBe(USED_UP)
    await again.clock.advance(2 * 3_600_000 - 3000 - first.clock.nowMs())
    expect(again.reason()).toBe(USED_UP)
    await again.becomes(undefined)
    expect(again.clock.wallMs()).toBeGreaterThanOrEqual(Date.parse('2026-11-22T00:00:00Z'))
    expect(again.policy.status().usage).toEqual({ requests: 0, tokens: 0, wattHours: 0 })
  })

  it('lose some seconds at most when the process is killed', async () => {
    const first = await setup({ file: FILE })
    first.policy.used({ tokens: 60 })
    const path = join(first.dataDir, 'usage.json')
    await first.pass(6 * LIMITS.policyLookMs)
    await until('it is written', () => existsSync(path) && readFileSync(path, 'utf8').includes('60'))
    // not stopped: what is on the disk is all that the next one knows
    const again = await setup({ dataDir: first.dataDir })
    expect(again.policy.status().usage.tokens).toBe(60)
  })

  it('begin anew from a damaged file', async () => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'usage.json'), '{"2026-11-21":{"requests":-1,"tokens":1e999,"wattHours":0}}')
    expect((await setup({ dataDir, file: FILE })).policy.status().usage.requests).toBe(0)
  })

  it('of energy count what the machine takes while it answers', async () => {
    const { senses, policy, serve, pass, becomes } = await setup({
      file: '[quota]\nwatt_hours_per_day = 10\nwhen_used_up = "hand-over"\n',
    })
    senses.seen = { watts: 360 }
    await pass(20_000)
    expect(policy.status().usage.wattHours).toBe(0)
    serve()
    await pass(20_000)
    expect(policy.status().usage.wattHours).toBeGreaterThan(1)
    expect(policy.status().usage.wattHours).toBeLessThan(2.3)
    await becomes("today's 10 watt-hours are used up")
    expect(policy.status().handsOver).toBe(true)
  })
})

describe('a quota of energy on a machine that does not tell what it takes', () => {
  const FILE = '[quota]\nwatt_hours_per_day = 10\n'
  const used = async (setting: Parameters<typeof setup>[0]) => {
    const { policy, serve, pass } = await setup(setting)
    serve()
    await pass(20_000)
    return policy.status()
  }

  it('is counted by a rule of thumb, and says so', async () => {
    const { usage, wattsSource } = await used({ file: FILE, estimatedWatts: () => 360 })
    expect(usage.wattHours).toBeGreaterThan(1)
    expect(usage.wattHours).toBeLessThan(2.3)
    expect(wattsSource).toBe('estimated')
  })

  it('is counted by what its owner says', async () => {
    const file = `${FILE}[energy]\nwatts = 720\n`
    const { usage, wattsSource } = await used({ file, estimatedWatts: () => 1 })
    expect(usage.wattHours).toBeGreaterThan(2)
    expect(wattsSource).toBe('owner')
  })

  it('is not known where there is no rule either, and no source is named without a quota', async () => {
    const { unknown, wattsSource } = await used({ file: FILE })
    expect([unknown, wattsSource]).toEqual([['what the machine takes'], undefined])
    expect(await used({ file: '', estimatedWatts: () => 1 })).not.toHaveProperty('wattsSource')
  })
})

describe('the link', () => {
  it.each([
    [false, '', true],
    [true, '', false],
    [undefined, '', true],
    [undefined, 'when_unknown = "pause"\n', false],
  ])('that is metered: %s is probed with %j: %s; looked at seldom, and not at once', async (metered, file, may) => {
    const { policy, senses, pass } = await setup({ file })
    senses.seen = metered === undefined ? {} : { metered }
    await pass(5000)
    expect([policy.mayProbe, senses.asked.has('metered')]).toEqual([false, false])
    await pass(9000)
    expect(policy.mayProbe).toBe(may)
    await pass(10_000)
    expect(senses.asked.has('metered')).toBe(false)
  })
})

describe('who may use it', () => {
  it('coordinators by name or peer id, models by name, beginning or digest', async () => {
    const peerId = asPeerId('12D3KooWBCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv')
    const { policy } = await setup({
      file: `[access]\ncoordinators = ["home", "${peerId}"]\nmodels = ["llama*", "${digestOf('b')}"]\n`,
    })
    expect(policy.refusalOf({ peerId: asPeerId('x'), name: 'home' })).toBeUndefined()
    expect(policy.refusalOf({ peerId, name: 'other' })).toBeUndefined()
    expect(policy.refusalOf({ peerId: asPeerId('x'), name: 'other' })).toBe('its owner does not serve this coordinator')
    expect(policy.allows(digestOf('a'), ['llama-1b'])).toBe(true)
    expect(policy.allows(digestOf('b'), ['x'])).toBe(true)
    expect(policy.allows(digestOf('a'), ['x'])).toBe(false)
  })
})

describe('which tenants may use it', () => {
  it('all of them unless it says otherwise, and then one that is named', async () => {
    const { policy, save, reasons, waits } = await setup()
    expect(policy.access).toBeUndefined()
    expect(policy.tenantRefusalOf(undefined)).toBeUndefined()
    await save('[access]\ntenants = ["anna", "key:*"]\n')
    await waits('it is taken over', () => policy.access !== undefined)
    expect(policy.access).toEqual({ tenants: ['anna', 'key:*'] })
    // whoever announces it is told, though the node still serves
    expect(reasons).toEqual([undefined])
    expect(policy.tenantRefusalOf('anna')).toBeUndefined()
    expect(policy.tenantRefusalOf('key:0a')).toBeUndefined()
    expect(policy.tenantRefusalOf('ben')).toBe('its owner does not serve this tenant')
    expect(policy.tenantRefusalOf(undefined)).toBe('its owner does not serve this tenant')
    await save('')
    await waits('it is taken back', () => policy.access === undefined)
  })
})

describe('a data directory that cannot be written', () => {
  it('costs log lines, not the node', async () => {
    const dataDir = await temporaryDirectory()
    // in the way of the files
    await mkdir(join(dataDir, 'policy.toml'))
    await mkdir(join(dataDir, 'usage.json'))
    const { policy, reason } = await setup({ dataDir })
    policy.used({ requests: 1 })
    expect(reason()).toBeUndefined()
    expect(policy.status().usage.requests).toBe(1)
  })
})

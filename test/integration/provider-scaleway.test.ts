/** Machines of Scaleway: against a server that speaks its Instances and Block Storage APIs. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../mesh/runtime/index.ts'
import type { LaunchOrder, Machine } from '../../coordinator/cloud/index.ts'
import type { ScalewayFlavour } from '../../coordinator/cloud/providers/scaleway/settings.ts'
import { ScalewayProvider } from '../../coordinator/cloud/providers/scaleway/scaleway-provider.ts'
import { providerSuite } from '../compliance/provider.suite.ts'
import { ScalewayDouble } from '../fixtures/scaleway/scaleway.ts'

const SIGNAL = new AbortController().signal
const DIGEST = `sha256:${'0'.repeat(64)}`
const PROJECT = '11111111-2222-4333-8444-555555555555'
const ENVIRONMENT = { KEY: 'secret-of-a-test' }

const FLAVOUR: ScalewayFlavour = {
  kind: 'scaleway',
  type: 'L4-1-24G',
  machineImage: 'ubuntu_noble_gpu_os_12',
  diskGb: 100,
  worker: { vllm: `vllm/vllm-openai@${DIGEST}`, skein: `example/skein@${DIGEST}`, model: 'Qwen/Qwen3-8B' },
  pricePerHour: 0.9,
  readyMinutes: 8,
}
const { pricePerHour: _price, ...UNPRICED } = FLAVOUR
const FLAVOURS = new Map<string, ScalewayFlavour>([
  ['small', FLAVOUR],
  ['listed', { ...UNPRICED, extrasPerHour: 0.02 }],
  ['listed-cpu', { ...UNPRICED, type: 'PRO2-S', extrasPerHour: 0 }],
  ['unlisted', { ...UNPRICED, type: 'H200-8', extrasPerHour: 0 }],
  ['with-models', { ...FLAVOUR, models: PROJECT, billedStepSeconds: 60 }],
  ['broken', { ...FLAVOUR, machineImage: 'unknown' }],
])
const ZONES = ['fr-par-2', 'pl-waw-2']

function providerOf(double: ScalewayDouble, clock: ManualClock, mesh = 'mesh-1', key = 'KEY'): ScalewayProvider {
  const settings = { kind: 'scaleway', zones: ZONES, project: PROJECT, key, endpoint: double.url } as const
  return new ScalewayProvider({ ...settings, zones: [...ZONES] }, FLAVOURS, { clock, environment: ENVIRONMENT, mesh })
}

providerSuite('Scaleway', async () => {
  const clock = new ManualClock()
  const double = await ScalewayDouble.start(clock)
  const provider = providerOf(double, clock)
  return {
    provider,
    flavour: 'small',
    reopen: async () => providerOf(double, clock),
    ofOtherMesh: async () => providerOf(double, clock, 'mesh-2'),
    pass: async (ms) => {
      await clock.advance(ms)
      // what is on its way out is told to go again, as the orchestrator does
      for (const { id, state } of await provider.list(SIGNAL))
        if (state === 'stopping') await provider.terminate(id, SIGNAL).catch(() => {})
    },
    loseAnswer: () => void (double.faults.losesNextCreation = true),
    throttle: (is) => void (double.faults.isThrottling = is),
    exhaust: (is) => void (is ? double.faults.outOfStock.add('*') : double.faults.outOfStock.clear()),
    spoilKey: () => void (double.faults.isKeyRevoked = true),
    cleanUp: () => double.stop(),
  }
})

describe('Scaleway', () => {
  let clock: ManualClock
  let double: ScalewayDouble
  let provider: ScalewayProvider
  let orders = 0
  const order = (more: Partial<LaunchOrder> = {}): LaunchOrder => ({
    token: `token-${++orders}`,
    flavour: 'small',
    name: 'skein-1',
    invite: 'skein1-invite',
    serves: ['qwen3-8b'],
    aloneMinutes: 10,
    ...more,
  })
  const uuidOf = ({ id }: Machine): string => id.split('/')[1]!
  const bodyOf = (method: string, end: string): Record<string, unknown> =>
    JSON.parse(double.requests.findLast((one) => one.method === method && one.path.endsWith(end))!.body) as Record<
      string,
      unknown
    >

  beforeEach(async () => {
    clock = new ManualClock()
    double = await ScalewayDouble.start(clock)
    provider = providerOf(double, clock)
  })
  afterEach(() => double.stop())

  it('makes a machine of block storage and an address of its own, and tells it what to run before it starts', async () => {
    const machine = await provider.launch(order({ flavour: 'with-models', name: 'skein-7' }), SIGNAL)
    expect(bodyOf('POST', '/servers')).toMatchObject({
      name: 'skein-7',
      project: PROJECT,
      commercial_type: 'L4-1-24G',
      tags: ['skein-mesh=mesh-1', `skein-token=token-${orders}`],
      dynamic_ip_required: true,
      volumes: { 0: { volume_type: 'sbs_volume', size: 100_000_000_000 }, 1: { base_snapshot: PROJECT } },
    })
    expect(bodyOf('POST', '/action')).toEqual({ action: 'poweron' })
    const told = double.requests.findIndex(({ path }) => path.endsWith('/user_data/cloud-init'))
    expect(told).toBeLessThan(double.requests.findIndex(({ path }) => path.endsWith('/action')))
    expect(double.userDataOf(uuidOf(machine))).toContain("--join 'skein1-invite'")
    expect(double.userDataOf(uuidOf(machine))).not.toContain('secret-of-a-test')
    expect(double.requests.every(({ headers }) => headers['x-auth-token'] === 'secret-of-a-test')).toBe(true)
  })

  it('takes the owner’s price, or the list’s with what is not in it, and never none', async () => {
    const gpu = { billedLeastMs: 0, readyMs: 480_000, isSpot: false }
    expect(await provider.quote('small', SIGNAL)).toEqual({ microsPerHour: 900_000, billedStepMs: 3_600_000, ...gpu })
    expect(await provider.quote('with-models', SIGNAL)).toMatchObject({ billedStepMs: 60_000 })
    expect(double.requests).toEqual([])
    expect(await provider.quote('listed', SIGNAL)).toEqual({ microsPerHour: 770_000, billedStepMs: 60_000, ...gpu })
    expect(await provider.quote('listed-cpu', SIGNAL)).toMatchObject({
      microsPerHour: 219_000,
      billedStepMs: 3_600_000,
    })
    expect(double.requests).toHaveLength(1)
    await expect(provider.quote('unlisted', SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    double.types['L4-1-24G']!.hourly_price = 0.8
    await clock.advance(600_000)
    expect(await provider.quote('listed', SIGNAL)).toMatchObject({ microsPerHour: 820_000 })
  })

  it('goes to the next zone when one has none, and leaves nothing behind in either', async () => {
    double.faults.outOfStock.add(ZONES[0]!)
    const machine = await provider.launch(order(), SIGNAL)
    expect(machine.id.startsWith(ZONES[1]!)).toBe(true)
    expect(double.billed).toEqual({ machines: 1, volumes: 1 })
    double.faults.outOfStock.add('*')
    await expect(provider.launch(order(), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_NO_CAPACITY' })
    expect(double.billed).toEqual({ machines: 1, volumes: 1 })
  })

  it('keeps a machine in the list until its volumes are gone too, also after a restart', async () => {
    const { id } = await provider.launch(order(), SIGNAL)
    await provider.terminate(id, SIGNAL)
    expect(await provider.list(SIGNAL)).toMatchObject([{ id, state: 'stopping' }])
    await clock.advance(5000)
    expect(double.billed).toEqual({ machines: 0, volumes: 1 })
    const later = providerOf(double, clock)
    expect(await later.list(SIGNAL)).toMatchObject([{ id, state: 'stopping' }])
    expect(await later.get(id, SIGNAL)).toMatchObject({ id, state: 'stopping' })
    await later.terminate(id, SIGNAL)
    expect(double.billed).toEqual({ machines: 0, volumes: 0 })
    expect(await later.list(SIGNAL)).toEqual([])
    expect(await later.get(id, SIGNAL)).toBeUndefined()
  })

  it('starts what was made and not started when a launch broke off, and takes away a second one that never ran', async () => {
    const wanted = order()
    double.faults.losesNextCreation = true
    await expect(provider.launch(wanted, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
    expect(await provider.list(SIGNAL)).toMatchObject([{ token: wanted.token, state: 'starting' }])
    // what was made is not to be seen yet, and a second one is made
    double.faults.blindLists = ZONES.length
    await provider.launch(wanted, SIGNAL)
    expect(double.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/servers'))).toHaveLength(2)
    expect(await provider.list(SIGNAL)).toHaveLength(1)
    expect(double.billed).toEqual({ machines: 1, volumes: 1 })
  })

  it('lists a machine that shut itself down as one that is billed, and ends it', async () => {
    const machine = await provider.launch(order(), SIGNAL)
    double.shutDown(uuidOf(machine))
    expect(await provider.list(SIGNAL)).toMatchObject([{ state: 'running' }])
    await provider.terminate(machine.id, SIGNAL)
    expect(await provider.get(machine.id, SIGNAL)).toMatchObject({ state: 'stopping' })
  })

  it('asks again later when a machine that starts cannot be ended', async () => {
    double.faults.bootMs = 20_000
    const { id } = await provider.launch(order(), SIGNAL)
    await expect(provider.terminate(id, SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_UNAVAILABLE',
      retryAfterSeconds: 10,
    })
    await clock.advance(20_000)
    await provider.terminate(id, SIGNAL)
  })

  it('leaves machines alone that are not of this mesh', async () => {
    const { id } = await providerOf(double, clock, 'mesh-2').launch(order(), SIGNAL)
    expect(await provider.get(id, SIGNAL)).toBeUndefined()
    await expect(provider.terminate(id, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    await provider.terminate('fr-par-2/../../account', SIGNAL)
    expect(double.billed.machines).toBe(1)
    expect(double.requests.some(({ path }) => path.includes('account'))).toBe(false)
  })

  it('reads all pages of a list', async () => {
    for (let i = 0; i < 5; i++) await provider.launch(order(), SIGNAL)
    double.faults.pageLength = 2
    expect(await provider.list(SIGNAL)).toHaveLength(5)
    double.faults.pageLength = 0
    await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
  })

  it('says when to ask again, what is refused, and which variable has no key', async () => {
    double.faults.isThrottling = true
    await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE', retryAfterSeconds: 7 })
    double.faults.isThrottling = false
    await expect(provider.launch(order({ flavour: 'broken' }), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    const keyless = providerOf(double, clock, 'mesh-1', 'NO_KEY')
    await expect(keyless.list(SIGNAL)).rejects.toMatchObject({ message: 'the environment variable NO_KEY has no key' })
  })

  it.each([
    ['no JSON', { status: 200, text: '<html>' }],
    ['another shape', { status: 200, text: '{"servers":[{"id":"x"}]}' }],
    ['a fault of the server', { status: 503, text: '' }],
    ['a redirect', { status: 302, text: '' }],
    [
      'an answer without end',
      { status: 200, text: `{"servers":[],"total_count":0,"more":"${'x'.repeat(9 * 1024 * 1024)}"}` },
    ],
  ])('takes %s for no answer', async (_name, answer) => {
    double.faults.nextAnswer = answer
    await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
  })
})

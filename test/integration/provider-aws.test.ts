/** Machines of EC2: the official client against a server that speaks the query API. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../mesh/runtime/index.ts'
import type { LaunchOrder } from '../../coordinator/cloud/index.ts'
import { AwsProvider } from '../../coordinator/cloud/providers/aws/aws-provider.ts'
import type { AwsFlavour } from '../../coordinator/cloud/providers/aws/settings.ts'
import { providerSuite } from '../compliance/provider.suite.ts'
import { Ec2Double, type Ec2Request } from '../fixtures/ec2/ec2.ts'

const SIGNAL = new AbortController().signal
const DIGEST = `sha256:${'0'.repeat(64)}`
const ENVIRONMENT = { KEY_ID: 'AKIDOFATEST', SECRET: 'secret-of-a-test', EMPTY: '' }

const FLAVOUR: AwsFlavour = {
  kind: 'aws',
  instanceType: 'g6.xlarge',
  machineImage: 'ami-0123456789abcdef0',
  disk: { gib: 100, device: '/dev/sda1' },
  worker: { vllm: `vllm/vllm-openai@${DIGEST}`, skein: `example/skein@${DIGEST}`, model: 'Qwen/Qwen3-8B' },
  pricePerHour: 0.9,
  readyMinutes: 8,
}
const SPOT: AwsFlavour = { ...FLAVOUR, spot: { maxUsdPerHour: 0.45 }, models: 'snap-0123456789abcdef0' }
const SUBNETS = ['subnet-00000001', 'subnet-00000002', 'subnet-00000003']
const FLAVOURS = new Map<string, AwsFlavour>([
  ['small', FLAVOUR],
  ['spot', SPOT],
  ['spread', { ...FLAVOUR, subnets: SUBNETS, securityGroups: ['sg-0123456789abcdef0'] }],
  ['broken', { ...FLAVOUR, machineImage: 'ami-00000000' }],
])

function providerOf(
  double: Ec2Double,
  clock: ManualClock,
  mesh = 'mesh-1',
  keyId = 'KEY_ID',
  flavours = FLAVOURS,
): AwsProvider {
  const settings = { kind: 'aws', region: 'eu-central-1', keyId, secret: 'SECRET', endpoint: double.url } as const
  return new AwsProvider(settings, flavours, { clock, environment: ENVIRONMENT, mesh })
}

providerSuite('EC2', async () => {
  const clock = new ManualClock()
  const double = await Ec2Double.start(clock)
  return {
    provider: providerOf(double, clock),
    flavour: 'small',
    reopen: async () => providerOf(double, clock),
    ofOtherMesh: async () => providerOf(double, clock, 'mesh-2'),
    pass: (ms) => clock.advance(ms),
    loseAnswer: () => void (double.faults.losesNextLaunch = true),
    throttle: (is) => void (double.faults.isThrottling = is),
    exhaust: (is) => void (is ? double.faults.exhausted.add('*') : double.faults.exhausted.clear()),
    spoilKey: () => void (double.faults.isKeyRevoked = true),
    cleanUp: () => double.stop(),
  }
})

describe('EC2', () => {
  let clock: ManualClock
  let double: Ec2Double
  let provider: AwsProvider
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
  const requestsOf = (action: string): Ec2Request[] => double.requests.filter((request) => request.action === action)
  const lastForm = (): URLSearchParams => requestsOf('RunInstances').at(-1)!.form
  const userDataOf = (form: URLSearchParams): string => Buffer.from(form.get('UserData')!, 'base64').toString('utf8')

  beforeEach(async () => {
    clock = new ManualClock()
    double = await Ec2Double.start(clock)
    provider = providerOf(double, clock)
  })
  afterEach(() => double.stop())

  it('asks for a machine that ends with its shutdown, is tagged, and answers its metadata to nobody else', async () => {
    await provider.launch(order({ name: 'skein-7' }), SIGNAL)
    const form = lastForm()
    const asked = Object.fromEntries(form)
    expect(asked).toMatchObject({
      ClientToken: `token-${orders}`,
      MinCount: '1',
      MaxCount: '1',
      InstanceType: 'g6.xlarge',
      InstanceInitiatedShutdownBehavior: 'terminate',
      'MetadataOptions.HttpTokens': 'required',
      'BlockDeviceMapping.1.Ebs.DeleteOnTermination': 'true',
      'TagSpecification.1.Tag.1.Key': 'skein-mesh',
      'TagSpecification.1.Tag.1.Value': 'mesh-1',
      'TagSpecification.1.Tag.3.Value': 'skein-7',
    })
    expect(asked).not.toHaveProperty(['InstanceMarketOptions.MarketType'])
    expect(userDataOf(form)).toContain("--join 'skein1-invite'")
    expect(userDataOf(form)).not.toContain('secret-of-a-test')
  })

  it('asks for spot at the highest price that the owner gives, with a volume of models', async () => {
    await provider.launch(order({ flavour: 'spot' }), SIGNAL)
    expect(Object.fromEntries(lastForm())).toMatchObject({
      'InstanceMarketOptions.MarketType': 'spot',
      'InstanceMarketOptions.SpotOptions.MaxPrice': '0.45',
      'InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior': 'terminate',
      'BlockDeviceMapping.2.Ebs.SnapshotId': 'snap-0123456789abcdef0',
    })
    expect(await provider.quote('spot', SIGNAL)).toEqual({
      microsPerHour: 900_000,
      billedStepMs: 1000,
      billedLeastMs: 60_000,
      readyMs: 480_000,
      isSpot: true,
    })
  })

  it('tells when a spot machine is taken back', async () => {
    const { id } = await provider.launch(order({ flavour: 'spot' }), SIGNAL)
    await clock.advance(30_000)
    expect(await provider.get(id, SIGNAL)).not.toHaveProperty('endsAtMs')
    double.interrupt(id)
    const endsAtMs = clock.wallMs() + 120_000
    expect(await provider.get(id, SIGNAL)).toMatchObject({ state: 'running', endsAtMs })
    expect(await provider.list(SIGNAL)).toMatchObject([{ id, endsAtMs }])
  })

  it('takes a token to one subnet alone, whatever happens there, and other tokens to others', async () => {
    const [first] = SUBNETS
    double.faults.exhausted.add(first!)
    const seen = new Map<string, string>()
    for (let i = 0; i < 12; i++) {
      const wanted = order({ flavour: 'spread' })
      const said = await provider.launch(wanted, SIGNAL).catch((thrown: { code: string }) => thrown.code)
      const subnet = lastForm().get('SubnetId')!
      expect(said === 'CLOUD_NO_CAPACITY').toBe(subnet === first)
      await provider.launch(wanted, SIGNAL).catch(() => {})
      expect(lastForm().get('SubnetId')).toBe(subnet)
      seen.set(subnet, wanted.token)
    }
    expect([...seen.keys()].sort()).toEqual(SUBNETS)
    // capacity is back, and the coordinator was restarted: still one machine for each token
    double.faults.exhausted.clear()
    const later = providerOf(double, clock)
    const before = double.running
    for (const token of seen.values()) await later.launch(order({ flavour: 'spread', token }), SIGNAL)
    expect(double.running).toBe(before + 1)
  })

  it('does not believe that a machine is gone which EC2 does not show yet', async () => {
    const { id } = await provider.launch(order(), SIGNAL)
    expect(await provider.get(id, SIGNAL)).toBeUndefined()
    await expect(provider.terminate(id, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
    await clock.advance(5000)
    await provider.terminate(id, SIGNAL)
    await clock.advance(10_000)
    expect(double.running).toBe(0)
  })

  it('gives back what a token has made when the flavour was changed since, and that it has gone', async () => {
    const wanted = order()
    const { id } = await provider.launch(wanted, SIGNAL)
    const changed = new Map([['small', { ...FLAVOUR, instanceType: 'g6.2xlarge' }]])
    const later = providerOf(double, clock, 'mesh-1', 'KEY_ID', changed)
    await expect(later.launch(wanted, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
    await clock.advance(5000)
    expect(await later.launch(wanted, SIGNAL)).toMatchObject({ id, state: 'starting' })
    await provider.terminate(id, SIGNAL)
    await clock.advance(10_000)
    expect(await provider.launch(wanted, SIGNAL)).toMatchObject({ id, state: 'gone' })
    await clock.advance(3_600_000)
    expect(await provider.launch(wanted, SIGNAL)).toMatchObject({ token: wanted.token, state: 'gone' })
    expect(double.running).toBe(0)
  })

  it('reads all pages, and fails when one fails', async () => {
    double.faults.pageLength = 2
    for (let i = 0; i < 5; i++) await provider.launch(order(), SIGNAL)
    await clock.advance(5000)
    expect(await provider.list(SIGNAL)).toHaveLength(5)
    double.faults.pageLength = 0
    await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
  })

  it('leaves machines alone that are not of this mesh', async () => {
    const { id } = await providerOf(double, clock, 'mesh-2').launch(order(), SIGNAL)
    await clock.advance(5000)
    expect(await provider.get(id, SIGNAL)).toBeUndefined()
    await expect(provider.terminate(id, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    expect(double.running).toBe(1)
  })

  it('says what EC2 refuses, and which variable has no key, without the key', async () => {
    await expect(provider.launch(order({ flavour: 'broken' }), SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_REFUSED',
      message: expect.stringContaining('InvalidAMIID.NotFound') as string,
    })
    const keyless = providerOf(double, clock, 'mesh-1', 'EMPTY')
    await expect(keyless.list(SIGNAL)).rejects.toMatchObject({
      code: 'CLOUD_REFUSED',
      message: 'the environment variable EMPTY has no key',
    })
    const thrown = await provider.launch(order({ token: 'a token' }), SIGNAL).catch((error: unknown) => error)
    expect(thrown).toMatchObject({ code: 'CLOUD_REFUSED' })
  })

  it.each([
    ['no XML', { status: 200, body: 'nothing of the kind' }],
    [
      'an instance without an id',
      {
        status: 200,
        body: '<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceState><name>running</name></instanceState></item></instancesSet></item></reservationSet></DescribeInstancesResponse>',
      },
    ],
    ['an error without a word', { status: 500, body: '' }],
    ['a page of another server', { status: 502, body: '<html><body>Bad Gateway</body></html>' }],
    [
      'an answer without end',
      {
        status: 200,
        body: `<DescribeInstancesResponse><reservationSet/><more>${'x'.repeat(17 * 1024 * 1024)}</more></DescribeInstancesResponse>`,
      },
    ],
  ])('takes %s for no answer', async (_name, answer) => {
    double.faults.nextAnswer = answer
    await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
  })

  it('ends a call when its caller goes', async () => {
    const caller = new AbortController()
    const listing = provider.list(caller.signal)
    caller.abort(new DOMException('gone', 'AbortError'))
    await expect(listing).rejects.toMatchObject({ name: 'AbortError' })
  })
})

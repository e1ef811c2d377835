/**
 * Machines of EC2, by the official client. A launch carries the order's token as EC2's own client token and as a tag.
 *
 * EC2 holds a client token for one zone: the same token in another zone makes a second instance, and a launch that failed for want
 * of capacity binds it as well. Hence a token always goes to the same one of the flavour's subnets, which the token itself
 * chooses; the next order, with another token, may come to another.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '../../../../mesh/runtime/index.ts'
import { bounded, checkOrder, flavourOf, keyOf, refused, unavailable, type Environment } from '../bounds.ts'
import { MACHINES_MAX, type LaunchOrder, type Machine, type Provider, type Quote } from '../../provider.ts'
import { userData } from '../user-data.ts'
import { microsOf } from '../worker-settings.ts'
import {
  instancesIn,
  interruptionsIn,
  launchedIn,
  machineOf,
  MESH_TAG,
  tagOf,
  TOKEN_TAG,
  type Instance,
  type Page,
} from './answers.ts'
import { asProviderError, codeOf } from './errors.ts'
import { openEc2, type AskEc2, type Ec2Action } from './sdk.ts'
import type { AwsFlavour, AwsSettings } from './settings.ts'

/** EC2's own advice is to wait up to minutes; what was launched is there after seconds by far the most times. */
const SETTLE_MS = 60_000
const UNSEEN_SECONDS = 5
/** Launched ones that are remembered while `SETTLE_MS` lasts. */
const FRESH_MAX = 256
const PAGE_MAX = 500
const PAGES_MAX = 16
/** Linux on demand and spot are billed by the second, for a minute at least. */
const STEP_MS = 1000
const LEAST_MS = 60_000
const INSTANCE_ID = /^i-[0-9a-f]{8,17}$/
const HERE = ['pending', 'running', 'shutting-down', 'stopping', 'stopped']
const UNKNOWN_ID = new Set(['InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed'])

export interface AwsComponents {
  readonly clock: Clock
  readonly environment: Environment
  /** Id of the mesh: the tag of its machines. */
  readonly mesh: string
}

export class AwsProvider implements Provider {
  readonly settleMs = SETTLE_MS
  readonly #flavours: ReadonlyMap<string, AwsFlavour>
  readonly #clock: Clock
  readonly #mesh: string
  readonly #askEc2: AskEc2
  /** When each was launched by this process: EC2 may not know of it yet. */
  readonly #fresh = new Map<string, number>()

  constructor(
    settings: AwsSettings,
    flavours: ReadonlyMap<string, AwsFlavour>,
    { clock, environment, mesh }: AwsComponents,
  ) {
    this.#flavours = flavours
    this.#clock = clock
    this.#mesh = mesh
    this.#askEc2 = openEc2({
      region: settings.region,
      endpoint: settings.endpoint,
      credentials: () => ({
        accessKeyId: keyOf(environment, settings.keyId),
        secretAccessKey: keyOf(environment, settings.secret),
        ...(settings.sessionToken !== undefined && { sessionToken: keyOf(environment, settings.sessionToken) }),
      }),
    })
  }

  async quote(flavour: string, signal: AbortSignal): Promise<Quote> {
    signal.throwIfAborted()
    const { pricePerHour, readyMinutes, spot } = flavourOf(this.#flavours, flavour)
    return {
      microsPerHour: microsOf(pricePerHour),
      billedStepMs: STEP_MS,
      billedLeastMs: LEAST_MS,
      readyMs: Math.ceil(readyMinutes * 60_000),
      isSpot: spot !== undefined,
    }
  }

  async launch(order: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    signal.throwIfAborted()
    checkOrder(order)
    const input = this.#runInput(flavourOf(this.#flavours, order.flavour), order)
    try {
      const [instance] = launchedIn(await this.#call('RunInstances', input, signal))
      if (instance === undefined) throw unavailable('EC2 RunInstances: an answer without an instance')
      this.#remember(instance.InstanceId)
      return { ...machineOf(instance), token: order.token }
    } catch (thrown) {
      const code = codeOf((thrown as { readonly cause?: unknown }).cause ?? {})
      if (code === 'IdempotentInstanceTerminated') return this.#ended(order, signal)
      // other words than those of the first launch, such as a flavour that was changed since: what that one made counts
      if (code === 'IdempotentParameterMismatch') return this.#launchedBefore(order, signal)
      throw thrown
    }
  }

  async get(machineId: string, signal: AbortSignal): Promise<Machine | undefined> {
    signal.throwIfAborted()
    const instance = await this.#find(machineId, signal)
    if (instance === undefined || tagOf(instance, MESH_TAG) !== this.#mesh) return undefined
    const ends = instance.InstanceLifecycle === 'spot' ? await this.#interruptions(signal) : undefined
    return machineOf(instance, ends?.get(machineId))
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    signal.throwIfAborted()
    const instances = await this.#pages('DescribeInstances', this.#filters(HERE), instancesIn, signal)
    if (instances.length > MACHINES_MAX) throw unavailable(`EC2: more than ${MACHINES_MAX} machines of this mesh`)
    const isSpot = instances.some(({ InstanceLifecycle }) => InstanceLifecycle === 'spot')
    const ends = isSpot ? await this.#interruptions(signal) : undefined
    return instances.map((instance) => machineOf(instance, ends?.get(instance.InstanceId)))
  }

  /** Nothing to do: the mesh asks the worker itself. */
  async drain(_machineId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
  }

  async terminate(machineId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const instance = await this.#find(machineId, signal)
    if (instance === undefined) return this.#checkUnseen(machineId)
    if (tagOf(instance, MESH_TAG) !== this.#mesh) throw refused(`EC2: ${machineId} is no machine of this mesh`)
    if (machineOf(instance).state === 'gone') return
    await this.#call('TerminateInstances', { InstanceIds: [machineId] }, signal)
  }

  async #call(action: Ec2Action, input: object, signal: AbortSignal): Promise<unknown> {
    return bounded(this.#clock, `EC2 ${action}`, signal, async (both) => {
      try {
        return await this.#askEc2(action, input, both)
      } catch (thrown) {
        throw asProviderError(thrown, action, both)
      }
    })
  }

  #runInput(flavour: AwsFlavour, order: LaunchOrder): object {
    const { instanceType, machineImage, subnets, securityGroups, spot, disk, models, worker } = flavour
    const volume = { VolumeType: 'gp3', DeleteOnTermination: true }
    const tags = [
      { Key: MESH_TAG, Value: this.#mesh },
      { Key: TOKEN_TAG, Value: order.token },
      { Key: 'Name', Value: order.name },
    ]
    return {
      ClientToken: order.token,
      MinCount: 1,
      MaxCount: 1,
      InstanceType: instanceType,
      ImageId: machineImage,
      ...(subnets !== undefined && { SubnetId: subnets[placeOf(order.token, subnets.length)]! }),
      ...(securityGroups !== undefined && { SecurityGroupIds: securityGroups }),
      // what powers itself off is gone, and not a stopped machine whose volumes are billed
      InstanceInitiatedShutdownBehavior: 'terminate',
      ...(spot !== undefined && {
        InstanceMarketOptions: {
          MarketType: 'spot',
          SpotOptions: {
            MaxPrice: String(spot.maxUsdPerHour),
            SpotInstanceType: 'one-time',
            InstanceInterruptionBehavior: 'terminate',
          },
        },
      }),
      BlockDeviceMappings: [
        { DeviceName: disk.device, Ebs: { ...volume, VolumeSize: disk.gib, Encrypted: true } },
        ...(models === undefined ? [] : [{ DeviceName: '/dev/sdf', Ebs: { ...volume, SnapshotId: models } }]),
      ],
      // of a request from elsewhere that a program on the machine could be talked into, no metadata come back
      MetadataOptions: { HttpEndpoint: 'enabled', HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
      TagSpecifications: ['instance', 'volume'].map((ResourceType) => ({ ResourceType, Tags: tags })),
      UserData: Buffer.from(userData(worker, order, 'aws')).toString('base64'),
    }
  }

  #filters(states: readonly string[], more: readonly object[] = []): object {
    return {
      Filters: [
        { Name: `tag:${MESH_TAG}`, Values: [this.#mesh] },
        { Name: 'instance-state-name', Values: states },
        ...more,
      ],
    }
  }

  async #pages<T>(
    action: Ec2Action,
    input: object,
    read: (answer: unknown) => Page<T>,
    signal: AbortSignal,
  ): Promise<T[]> {
    const items: T[] = []
    let next: string | undefined
    for (let page = 0; page < PAGES_MAX; page++) {
      const asked = { ...input, MaxResults: PAGE_MAX, ...(next !== undefined && { NextToken: next }) }
      const got = read(await this.#call(action, asked, signal))
      items.push(...got.items)
      if (got.next === undefined) return items
      next = got.next
    }
    throw unavailable(`EC2 ${action}: more than ${PAGES_MAX} pages`)
  }

  /** When those spot instances end that EC2 takes back, by their ids. */
  async #interruptions(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const input = { Filters: [{ Name: 'status-code', Values: ['marked-for-termination'] }] }
    const found = await this.#pages('DescribeSpotInstanceRequests', input, interruptionsIn, signal)
    return new Map(found.map(({ instanceId, endsAtMs }) => [instanceId, endsAtMs]))
  }

  async #find(machineId: string, signal: AbortSignal): Promise<Instance | undefined> {
    if (!INSTANCE_ID.test(machineId)) return undefined
    try {
      const { items } = instancesIn(await this.#call('DescribeInstances', { InstanceIds: [machineId] }, signal))
      return items.find(({ InstanceId }) => InstanceId === machineId)
    } catch (thrown) {
      const code = codeOf((thrown as { readonly cause?: unknown }).cause ?? {})
      if (code !== undefined && UNKNOWN_ID.has(code)) return undefined
      throw thrown
    }
  }

  async #byToken(token: string, signal: AbortSignal): Promise<Machine | undefined> {
    const input = this.#filters([...HERE, 'terminated'], [{ Name: `tag:${TOKEN_TAG}`, Values: [token] }])
    const [instance] = await this.#pages('DescribeInstances', input, instancesIn, signal)
    return instance && machineOf(instance)
  }

  async #launchedBefore({ token }: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    const machine = await this.#byToken(token, signal)
    if (machine) return machine
    throw unavailable('EC2: the token was used before, and its machine is not to be seen yet', UNSEEN_SECONDS)
  }

  /** EC2 forgets a terminated instance after about an hour, and its token later. */
  async #ended({ token }: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    const machine = await this.#byToken(token, signal)
    return { id: machine?.id ?? `ended-${token}`, token, state: 'gone', launchedAtMs: machine?.launchedAtMs ?? 0 }
  }

  #remember(machineId: string): void {
    const nowMs = this.#clock.nowMs()
    this.#fresh.delete(machineId)
    this.#fresh.set(machineId, nowMs)
    for (const [id, atMs] of this.#fresh)
      if (atMs + SETTLE_MS < nowMs || this.#fresh.size > FRESH_MAX) this.#fresh.delete(id)
  }

  /** @throws SkeinError CLOUD_UNAVAILABLE for one that was launched a moment ago: that EC2 does not know it says nothing. */
  #checkUnseen(machineId: string): void {
    const atMs = this.#fresh.get(machineId)
    if (atMs !== undefined && atMs + SETTLE_MS > this.#clock.nowMs())
      throw unavailable(`EC2: ${machineId} is not to be seen yet`, UNSEEN_SECONDS)
  }
}

/** One of `count`, the same for the same token wherever and whenever. */
const placeOf = (token: string, count: number): number =>
  createHash('sha256').update(token).digest().readUInt32BE(0) % count

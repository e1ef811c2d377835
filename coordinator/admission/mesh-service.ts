/** The coordinator behind the gateway's port: resolves names, bounds what is admitted, gives every task its seed. */
import { asTaskId, LIMITS, mintId, SkeinError, type ModelDigest, type Prompt } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { Directory } from '../directory/index.ts'
import { Task, type Dispatcher } from '../dispatch/index.ts'
import type { NodeName, TaskHandle } from '../dispatch/index.ts'
import type {
  InviteRequest,
  InviteView,
  MeshService,
  ModelView,
  NodeView,
  SelfView,
  TaskRequest,
  DiscoveryReport,
} from './service.ts'
import { modelViews, nodeViews } from './views.ts'

/** The part of the coordinator that may change who is a member. */
export interface Membership {
  readonly isAuthority: boolean
  /** @throws SkeinError NOT_THE_AUTHORITY. */
  invite(request: InviteRequest): Promise<InviteView>
  /** Voids the certificates of `peer` and tells every node. @throws SkeinError NOT_THE_AUTHORITY, MEMBER_NOT_FOUND. */
  revoke(member: string): Promise<NodeName>
}

export interface MeshServiceComponents {
  readonly clock: Clock
  readonly random: Random
  readonly transport: PeerTransport
  readonly directory: Directory
  readonly dispatcher: Dispatcher
  readonly membership: Membership
  /** What each path of discovery has found. */
  readonly discoveryReport: () => readonly DiscoveryReport[]
}

export class CoordinatorService implements MeshService {
  readonly #components: MeshServiceComponents
  #stopping = false

  constructor(components: MeshServiceComponents) {
    this.#components = components
  }

  submit(request: TaskRequest, signal: AbortSignal): TaskHandle {
    const { clock, dispatcher } = this.#components
    if (this.#stopping) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    if (dispatcher.running >= LIMITS.tasksMax)
      throw new SkeinError('SATURATED', `${LIMITS.tasksMax} tasks run or wait already`, { retryAfterSeconds: 10 })
    const task = new Task({
      taskId: asTaskId(mintId('task', (length) => this.#components.random.bytes(length))),
      requestId: request.requestId,
      digest: this.#resolve(request.model),
      prompt: request.prompt,
      sampling: { ...request.sampling, seed: request.sampling.seed ?? this.#seed() },
      stop: request.stop,
      maxTokens: Math.min(request.maxTokens ?? LIMITS.generatedTokensMax, LIMITS.generatedTokensMax),
      promptBytes: promptBytes(request.prompt),
      admittedAtMs: clock.nowMs(),
      deadlineAtMs: clock.nowMs() + Math.min(request.deadlineMs ?? LIMITS.taskMs, LIMITS.taskMs),
    })
    dispatcher.check(task)
    const { taskId, digest, sampling } = task.init
    return { taskId, digest, seed: sampling.seed, events: dispatcher.run(task, signal) }
  }

  /** From now on nothing is admitted; what runs may end. */
  close(): void {
    this.#stopping = true
  }

  models(): ModelView[] {
    return modelViews(this.#components.directory)
  }

  nodes(): NodeView[] {
    const { directory, transport, clock } = this.#components
    return nodeViews(directory, transport, clock.nowMs())
  }

  self(): SelfView {
    const { clock, transport, membership, discoveryReport } = this.#components
    const { peerId, certificate } = transport.self
    const { meshId, name } = certificate
    const { isAuthority } = membership
    return { peerId, name, meshId, isAuthority, clockMs: clock.wallMs(), discovery: discoveryReport() }
  }

  ready(): { ready: boolean; reason: string } {
    if (this.#stopping) return { ready: false, reason: 'the coordinator is stopping' }
    const nodes = this.nodes()
    if (nodes.some((node) => node.eligible)) return { ready: true, reason: 'a node can serve' }
    const reasons = nodes.map((node) => `${node.name}: ${node.reasons.join(', ')}`)
    return { ready: false, reason: reasons.length > 0 ? reasons.join('; ') : 'no node is in the mesh' }
  }

  invite(request: InviteRequest): Promise<InviteView> {
    return this.#components.membership.invite(request)
  }

  revoke(member: string): Promise<NodeName> {
    return this.#components.membership.revoke(member)
  }

  /** @throws SkeinError MODEL_NOT_FOUND naming what there is, NO_NODE. */
  #resolve(model: string): ModelDigest {
    const [digest] = this.#components.directory.resolve(model)
    if (digest !== undefined) return digest
    const known = this.models().flatMap((view) => view.aliases.slice(0, 1))
    if (known.length === 0)
      throw new SkeinError('NO_NODE', 'no node of the mesh has a model yet; start one with: skein up --model PATH', {
        retryAfterSeconds: 2,
      })
    const some = known.slice(0, 5).join(', ') + (known.length > 5 ? ', …' : '')
    throw new SkeinError('MODEL_NOT_FOUND', `no node of the mesh has the model '${model}'; there are: ${some}`, {
      param: 'model',
    })
  }

  #seed(): number {
    return new DataView(this.#components.random.bytes(4).buffer).getUint32(0)
  }
}

function promptBytes(prompt: Prompt): number {
  const size = (text: string): number => Buffer.byteLength(text)
  if (prompt.kind === 'text') return size(prompt.text)
  return prompt.messages.reduce((sum, message) => sum + size(message.content), 0)
}

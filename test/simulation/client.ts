/**
 * A client and the gateway's part that serves it: submits, reads, hangs up, comes back behind what it has, and does not
 * give up while it may resume. What it reads is observed, not checked here.
 */
import {
  asRequestId,
  asSkeinError,
  GREEDY,
  SkeinError,
  type ErrorCode,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import type { MeshService, TaskHandle, TaskRequest } from '../../coordinator/admission/index.ts'
import type { CoordinatorMachine } from './coordinator-process.ts'
import type { Observation, Reader } from './record.ts'
import { wordOf, type ClientPlan } from './scenario.ts'
import type { Choices, World } from './world.ts'

/** Between two tries to reach a coordinator. */
const RETRY_MS = 400
/** A coordinator that is gone this long is not waited for. */
const PATIENCE_MS = 60_000
/** Events that were sent and had not arrived when a connection broke. */
const IN_FLIGHT_MAX = 3

export interface ClientComponents {
  readonly world: World
  readonly coordinator: CoordinatorMachine
  readonly choices: Choices
  readonly observe: (observation: Observation) => void
}

export function requestOf(plan: ClientPlan): TaskRequest {
  return {
    requestId: asRequestId(`req_${plan.name}`),
    model: plan.model,
    prompt: { kind: 'text', text: Array.from({ length: plan.words }, (_, i) => wordOf(plan.name, i)).join(' ') },
    sampling: GREEDY,
    stop: plan.stop,
    priority: plan.priority,
    tenant: plan.tenant,
    localOnly: plan.localOnly,
    // as the gateway does: what has a key may be asked for again
    attachment: plan.hasKey && plan.attachment === 'attached' ? 'resumable' : plan.attachment,
    shape: '',
    maxTokens: plan.maxTokens,
    deadlineMs: plan.deadlineMs,
    ...(plan.hasKey && { idempotency: { key: plan.name, bodyDigest: `digest of ${plan.name}` } }),
  }
}

interface Connection {
  readonly life: number
  readonly hangUp: AbortController
}

/** One reader of one answer. */
export class ClientReader implements Reader {
  readonly name: string
  readonly client: ClientPlan
  taskId: TaskId | undefined
  readonly #components: ClientComponents
  readonly #request: TaskRequest
  #isAcknowledged = false
  #isOver = false
  #outcome: 'end' | ErrorCode | undefined
  #events = 0
  /** Positions behind the events that it has. */
  #places: number[] = []
  #connection: Connection | undefined
  #unreachableSinceMs: number | undefined
  #hasHungUp = false

  /** @param taskId of a task that another reader has submitted; it is submitted by this one when absent. */
  constructor(components: ClientComponents, client: ClientPlan, name: string, taskId?: TaskId) {
    this.#components = components
    this.client = client
    this.name = name
    this.taskId = taskId
    this.#isAcknowledged = taskId !== undefined
    this.#request = requestOf(client)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** How its stream ended; absent when it gave up, or reads still. */
  get outcome(): 'end' | ErrorCode | undefined {
    return this.#outcome
  }

  get isAcknowledged(): boolean {
    return this.#isAcknowledged
  }

  begin(): void {
    this.#components.observe({ type: 'began', reader: this })
    this.#connect()
  }

  /** The coordinator's process is gone, and the connection with it. */
  connectionLost(): void {
    if (this.#isOver || this.#connection === undefined) return
    this.#connection = undefined
    const mayResume = this.#isAcknowledged && this.#request.attachment !== 'attached'
    if (!mayResume && !this.client.hasKey) return this.#giveUp('the connection was lost')
    const forgotten = Math.min(this.#places.length, this.#components.choices.whole(0, IN_FLIGHT_MAX))
    this.#places.length -= forgotten
    this.#components.observe({ type: 'resumed', reader: this, forgotten })
    this.#again(RETRY_MS)
  }

  /** Reaches the coordinator, in a turn of its process. */
  #connect(): void {
    const { world, coordinator } = this.#components
    const { serving, clock, life } = coordinator
    if (serving === undefined || clock === undefined) {
      this.#unreachableSinceMs ??= world.nowMs
      if (world.nowMs - this.#unreachableSinceMs > PATIENCE_MS) return this.#giveUp('no coordinator')
      return this.#again(RETRY_MS)
    }
    this.#unreachableSinceMs = undefined
    const connection = (this.#connection = { life, hangUp: new AbortController() })
    clock.io.timer(1, () => void this.#serve(serving.service, connection))
  }

  #again(afterMs: number): void {
    this.#components.world.after(afterMs, () => {
      if (!this.#isOver) this.#connect()
    })
  }

  #giveUp(why: string): void {
    this.#isOver = true
    this.#components.observe({ type: 'gave up', reader: this, why })
  }

  async #serve(service: MeshService, connection: Connection): Promise<void> {
    const isMine = (): boolean => this.#connection === connection
    let handle: TaskHandle
    try {
      handle = await (this.#isAcknowledged
        ? service.resume(this.taskId!)
        : service.submit(this.#request, connection.hangUp.signal))
    } catch (thrown) {
      if (isMine()) this.#refused(asSkeinError(thrown))
      return
    }
    if (!isMine()) return
    this.taskId = handle.taskId
    this.#components.observe({ type: 'named', reader: this, isNew: handle.isNew })
    handle.admitted.then(
      () => this.#acknowledged(handle.taskId),
      () => {}, // the answer then ends by the same error
    )
    await this.#read(handle, connection, isMine)
  }

  async #read(handle: TaskHandle, connection: Connection, isMine: () => boolean): Promise<void> {
    const { observe } = this.#components
    try {
      for await (const event of handle.follow(this.#places.at(-1) ?? 0, connection.hangUp.signal)) {
        // as the gateway does: nothing is shown before it is sure to be known after a crash
        if (!this.#isAcknowledged) await handle.admitted
        if (!isMine()) return
        observe({ type: 'told', reader: this, event })
        this.#events++
        if (event.type === 'tokens') this.#places.push(event.position)
        if (event.type === 'end') return this.#over('end')
        if (this.client.hangsUp?.afterEvents === this.#events && !this.#hasHungUp)
          return this.#hangUp(connection.hangUp)
      }
    } catch (thrown) {
      if (!isMine()) return
      const { code, message } = asSkeinError(thrown)
      if (code === 'ANSWER_DIVERGED' && this.#places.length > 0) return this.#fromTheStart()
      this.#over(code)
      observe({ type: 'failed', reader: this, code, message })
    }
  }

  #over(outcome: 'end' | ErrorCode): void {
    this.#isOver = true
    this.#outcome = outcome
  }

  #acknowledged(taskId: TaskId): void {
    if (this.#isAcknowledged) return
    this.#isAcknowledged = true
    this.#components.observe({ type: 'acknowledged', taskId, client: this.client })
  }

  #refused({ code, message }: SkeinError): void {
    this.#over(code)
    this.#components.observe({ type: 'refused', reader: this, code, message })
  }

  /** What it has was lost together with its node and coordinator, and made again. */
  #fromTheStart(): void {
    this.#places = []
    this.#connection = undefined
    this.#components.observe({ type: 'began', reader: this })
    this.#again(1)
  }

  #hangUp(controller: AbortController): void {
    this.#hasHungUp = true
    this.#connection = undefined
    controller.abort(new SkeinError('CLIENT_CLOSED', 'the client hung up'))
    const { backAfterMs } = this.client.hangsUp!
    if (backAfterMs === undefined || !this.#isAcknowledged || this.#request.attachment === 'attached')
      return this.#giveUp('hung up')
    this.#components.observe({ type: 'resumed', reader: this, forgotten: 0 })
    this.#again(backAfterMs)
  }
}

/**
 * Carries out what coordinators order: a model is to be in memory here. Its owner has the last word, and what runs here
 * goes first. One order at a time, whoever sent it; two coordinators that order the same model share one.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type ControlOrder,
  type ControlOutcome,
  type ModelDigest,
  type PeerId,
  type ReplicaConsent,
} from '../../mesh/protocol/index.ts'
import { deadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { ModelHost, ModelSet } from '../models/index.ts'

const CODE_LENGTH_MAX = 48
const MESSAGE_LENGTH_MAX = 1024

export interface ReplicaOrdersComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly models: Pick<ModelSet, 'host' | 'ordered' | 'include'>
  /** What the owner lets coordinators order, now. */
  readonly consent: () => ReplicaConsent
  /** Whether others may use the model; by its digest alone where it is not here yet. */
  readonly isPermitted: (digest: ModelDigest, host: ModelHost | undefined) => boolean
  /** Why the node takes no new work; `undefined` when it does. */
  readonly closedBecause: () => string | undefined
  /** Brings a model into the store, from members; gives its path. Absent where nothing can be fetched. */
  readonly fetch?: (digest: ModelDigest, signal: AbortSignal) => Promise<string>
  /** Tells a coordinator what becomes of its order. */
  readonly tell: (coordinator: PeerId, outcome: ControlOutcome) => void
}

export class ReplicaOrders {
  readonly #components: ReplicaOrdersComponents
  readonly #log: Logger
  readonly #stopping = new AbortController()
  #digest: ModelDigest | undefined
  /** Who waits for it: the number of its order. */
  readonly #waiting = new Map<PeerId, number>()
  #running: Promise<void> = Promise.resolve()

  constructor(components: ReplicaOrdersComponents) {
    this.#components = components
    this.#log = components.log.scope('orders')
  }

  /** Does not throw: the coordinator is told. */
  ordered(coordinator: PeerId, { order, digest, fetch }: ControlOrder): void {
    const { models, tell } = this.#components
    try {
      const host = this.#check(digest, fetch)
      if (host?.isResident === true) return tell(coordinator, { type: 'control.outcome', order, state: 'done' })
      if (this.#digest !== undefined && this.#digest !== digest)
        throw new SkeinError('NO_FREE_SLOT', 'another order is being carried out here')
    } catch (thrown) {
      return tell(coordinator, outcomeOf(order, 'refused', thrown))
    }
    tell(coordinator, { type: 'control.outcome', order, state: 'accepted' })
    this.#waiting.set(coordinator, order)
    if (this.#digest !== undefined) return
    this.#digest = digest
    this.#log.info({ model: digest, isHere: models.host(digest) !== undefined }, 'a coordinator orders a replica')
    this.#running = this.#carryOut(digest)
  }

  /** Gives up what is being fetched or loaded. Does not throw. */
  async stop(): Promise<void> {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', 'the node is stopping'))
    await this.#running
  }

  /** @throws SkeinError why it is not carried out. */
  #check(digest: ModelDigest, mayFetch: boolean): ModelHost | undefined {
    const { models, consent, isPermitted, closedBecause, fetch } = this.#components
    this.#stopping.signal.throwIfAborted()
    const reason = closedBecause()
    if (reason !== undefined) throw new SkeinError('NODE_DRAINING', reason)
    const allowed = consent()
    if (allowed === 'off') throw new SkeinError('NOT_SERVED', 'its owner takes no orders for replicas')
    const host = models.host(digest)
    if (!isPermitted(digest, host)) throw new SkeinError('NOT_SERVED', 'its owner lets nobody use this model')
    if (host?.failure !== undefined) throw host.failure
    if (host !== undefined) return host
    if (!mayFetch) throw new SkeinError('MODEL_NOT_FOUND', 'this node does not have the model')
    if (allowed !== 'fetch' || fetch === undefined)
      throw new SkeinError('NOT_SERVED', 'its owner lets no model be fetched for an order')
    return undefined
  }

  async #carryOut(digest: ModelDigest): Promise<void> {
    const { clock, models, fetch } = this.#components
    const isHere = models.host(digest) !== undefined
    const boundMs = isHere ? LIMITS.replicaLoadMs : LIMITS.replicaFetchMs
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `the model was not there within ${boundMs} ms`)
    const limit = deadline(clock, boundMs, late)
    const signal = AbortSignal.any([this.#stopping.signal, limit.signal])
    let failure: unknown
    try {
      if (!isHere) await models.include(await fetch!(digest, signal))
      await models.ordered(digest, signal)
    } catch (thrown) {
      failure = thrown
      this.#log.warn({ model: digest, code: asSkeinError(thrown).code }, asSkeinError(thrown).message)
    } finally {
      limit.cancel()
    }
    this.#digest = undefined
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const [coordinator, order] of waiting)
      this.#components.tell(
        coordinator,
        failure === undefined ? { type: 'control.outcome', order, state: 'done' } : outcomeOf(order, 'failed', failure),
      )
  }
}

function outcomeOf(order: number, state: 'refused' | 'failed', thrown: unknown): ControlOutcome {
  const { code, message } = asSkeinError(thrown)
  return {
    type: 'control.outcome',
    order,
    state,
    code: code.slice(0, CODE_LENGTH_MAX),
    message: message.slice(0, MESSAGE_LENGTH_MAX),
  }
}

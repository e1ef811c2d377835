/**
 * What providers say is there: each asked for its list now and then, more often while it has leases. Whatever is in a list
 * and has no lease is ended, whoever launched it: it carries our tag, and the ledger knows nothing of it.
 */
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import { CALL_MS, type Machine, type Provider } from './provider.ts'
import { retryMs, type Listed } from './reconciler.ts'

/** Lists are so old at most, while there are leases and while there are none. */
const LIST_MS = 20_000
const IDLE_LIST_MS = 300_000

export interface Asked {
  /** It has leases. */
  readonly isUrgent: boolean
  readonly isLeased: (token: string) => boolean
  readonly signal: AbortSignal
}

interface State {
  listed: Listed | undefined
  dueMs: number
  idleDueMs: number
  failures: number
  isAsking: boolean
}

export class MachineLists {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #states = new Map<string, State>()
  /** Orphans that are being ended. */
  readonly #ending = new Set<string>()

  constructor(components: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = components.clock
    this.#log = components.log
  }

  /** The newest complete list. */
  of(name: string): Listed | undefined {
    return this.#states.get(name)?.listed
  }

  refresh(name: string, provider: Provider, asked: Asked): void {
    const nowMs = this.#clock.nowMs()
    const state = this.#state(name)
    if (state.isAsking || nowMs < state.dueMs || (!asked.isUrgent && nowMs < state.idleDueMs)) return
    state.isAsking = true
    void this.#list(name, provider, state, asked).finally(() => void (state.isAsking = false))
  }

  #state(name: string): State {
    let state = this.#states.get(name)
    if (state === undefined) {
      state = { listed: undefined, dueMs: 0, idleDueMs: 0, failures: 0, isAsking: false }
      this.#states.set(name, state)
    }
    return state
  }

  async #list(name: string, provider: Provider, state: State, { isLeased, signal }: Asked): Promise<void> {
    const askedMs = this.#clock.nowMs()
    try {
      const machines = await this.#call(signal, (limit) => provider.list(limit))
      state.listed = { askedMs, byToken: new Map(machines.map((machine) => [machine.token, machine])) }
      state.failures = 0
      state.dueMs = askedMs + LIST_MS
      state.idleDueMs = askedMs + IDLE_LIST_MS
      // two of one token are both looked at: an adapter that has made a second one must not hide it
      const kept = new Set([...state.listed.byToken.values()].map(({ id }) => id))
      for (const machine of machines)
        if (!isLeased(machine.token) || !kept.has(machine.id)) void this.#endOrphan(name, provider, machine, signal)
    } catch (thrown) {
      if (signal.aborted) return
      const { code, message, retryAfterSeconds = 0 } = asSkeinError(thrown)
      state.failures++
      state.dueMs = this.#clock.nowMs() + Math.max(retryMs(state.failures), retryAfterSeconds * 1000)
      this.#log.warn({ provider: name, code }, `machines cannot be listed: ${message}`)
    }
  }

  async #endOrphan(name: string, provider: Provider, machine: Machine, signal: AbortSignal): Promise<void> {
    // two providers may have machines of one name
    const key = `${name} ${machine.id}`
    // one that stops is told again: with some providers, parts of it outlive it
    if (machine.state === 'gone' || this.#ending.has(key)) return
    this.#ending.add(key)
    try {
      await this.#call(signal, (limit) => provider.terminate(machine.id, limit))
      this.#log.warn({ provider: name, machine: machine.id }, 'a machine without a lease was ended')
    } catch (thrown) {
      // it is in the next list again, which is asked for soon
      this.#state(name).idleDueMs = 0
      if (!signal.aborted)
        this.#log.error({ provider: name, machine: machine.id, err: asSkeinError(thrown) }, 'a machine has no lease')
    } finally {
      this.#ending.delete(key)
    }
  }

  #call<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = (): SkeinError => new SkeinError('CLOUD_UNAVAILABLE', `no answer within ${CALL_MS} ms`)
    return withDeadline(this.#clock, CALL_MS, late, signal, work)
  }
}

/** The models of the mesh, asked for when something changes there. */
import { effect, signal, type ReadonlySignal } from '@preact/signals'
import { modelChoices, type ModelChoice } from './models.ts'
import type { ChatsPorts } from './ports.ts'

/** Members come and models load in bursts: one look after each, in ms. */
const LOOK_MS = 400
const EVENTS = ['node', 'replica']

export class ModelList {
  readonly #ports: Pick<ChatsPorts, 'gateway' | 'clock'>
  readonly #choices = signal<readonly ModelChoice[]>()
  readonly #ends: (() => void)[]
  #stopLook: (() => void) | undefined
  #abort: AbortController | undefined

  constructor(ports: Pick<ChatsPorts, 'gateway' | 'clock'>) {
    this.#ports = ports
    const { gateway } = ports
    this.#ends = [
      effect(() => {
        if (gateway.state.value === 'online') this.refresh()
      }),
      gateway.events.subscribe(EVENTS, () => this.refresh()),
    ]
  }

  /** Undefined until the mesh has said; afterwards what it said last. */
  get choices(): ReadonlySignal<readonly ModelChoice[] | undefined> {
    return this.#choices
  }

  refresh(): void {
    this.#stopLook?.()
    this.#stopLook = this.#ports.clock.after(this.#choices.peek() ? LOOK_MS : 0, () => void this.#look())
  }

  close(): void {
    this.#stopLook?.()
    this.#abort?.abort()
    for (const end of this.#ends) end()
  }

  async #look(): Promise<void> {
    this.#abort?.abort()
    const abort = new AbortController()
    this.#abort = abort
    const { gateway } = this.#ports
    try {
      const [models, nodes] = await Promise.all([
        gateway.get('/mesh/v1/models', abort.signal),
        // a key may be for models and not for members
        gateway.get('/mesh/v1/nodes', abort.signal).catch(() => undefined),
      ])
      if (!abort.signal.aborted) this.#choices.value = modelChoices(models, nodes)
    } catch {
      // the state of the gateway says so; what was known stays
    }
  }
}

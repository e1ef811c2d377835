/**
 * Keeps the picture alive while a page shows it: events as they come, snapshots where they are missing, and every two seconds
 * what no event tells (load, memory, links, tokens), only while somebody can see it.
 */
import { signal, type ReadonlySignal, type Signal } from '@preact/signals'
import { SkeinApiError } from '../../sdk/index.ts'
import {
  emptyMesh,
  isOpen,
  lacksBars,
  TASKS_PAGE,
  withAttempts,
  withEvent,
  withNodes,
  withTasks,
  type MeshEvent,
  type MeshState,
} from './model.ts'
import type { LiveClock, MeshGateway, Visibility } from './ports.ts'
import {
  amount,
  fieldsOf,
  readDevice,
  readExplanation,
  readList,
  readModel,
  readNode,
  readOrder,
  readTask,
} from './read.ts'
import { emptySeries, withSample, type Series } from './series.ts'
import type { BridgedDevice, MeshModel, ReplicaOrder } from './types.ts'

export const POLL_MS = 2000
/** What changes seldom is asked for once in so many polls. */
const SELDOM_POLLS = 5
/** Events come in showers: one answer for all of them. */
const SETTLE_MS = 120
/** Explanations that are asked for to draw one picture. */
const EXPLAINED_AT_ONCE = 4

/** Why there is no picture, as a code of the API; `''` when there is one. */
export type Problem = '' | 'offline' | 'forbidden' | 'key-needed' | 'failed'

export interface LiveMeshInit {
  readonly gateway: MeshGateway
  readonly clock: LiveClock
  readonly visibility: Visibility
}

interface Extras {
  readonly models: readonly MeshModel[]
  readonly orders: readonly ReplicaOrder[]
  readonly devices: readonly BridgedDevice[]
}

export class LiveMesh {
  readonly #gateway: MeshGateway
  readonly #clock: LiveClock
  readonly #visibility: Visibility
  readonly #state: Signal<MeshState>
  readonly #extras = signal<Extras>({ models: [], orders: [], devices: [] })
  readonly #series = signal<Series>(emptySeries())
  readonly #problem = signal<Problem>('')
  readonly #isLoaded = signal(false)
  /** Tasks that were explained, so that none is asked for twice. */
  readonly #explained = new Set<string>()
  #viewers = 0
  #polls = 0
  #skewMs = 0
  #stop = (): void => {}
  #cancelNext = (): void => {}
  #isAsking = false
  #wantsAll = true
  #isSoon = false

  constructor({ gateway, clock, visibility }: LiveMeshInit) {
    this.#gateway = gateway
    this.#clock = clock
    this.#visibility = visibility
    this.#state = signal<MeshState>(emptyMesh(clock.nowMs()))
  }

  get state(): ReadonlySignal<MeshState> {
    return this.#state
  }
  get extras(): ReadonlySignal<Extras> {
    return this.#extras
  }
  get series(): ReadonlySignal<Series> {
    return this.#series
  }
  get problem(): ReadonlySignal<Problem> {
    return this.#problem
  }
  /** A first snapshot is there. */
  get isLoaded(): ReadonlySignal<boolean> {
    return this.#isLoaded
  }

  /** The coordinator's wall clock, which all times here are of. */
  nowMs(): number {
    return this.#clock.nowMs() + this.#skewMs
  }

  /** @returns what ends it; the last one that looks ends the polls. */
  watch(): () => void {
    if (this.#viewers++ === 0) this.#start()
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--this.#viewers === 0) this.#stop()
    }
  }

  /** Asks for all again, soon: something was just done that changes it. */
  refresh(): void {
    this.#wantsAll = true
    this.#soon()
  }

  #start(): void {
    const { events, state } = this.#gateway
    this.#wantsAll = true
    const unsubscribe = events.subscribe(['task', 'node', 'replica', 'events.missed'], (event) => this.#take(event))
    const unseen = this.#visibility.onVisibility((isVisible) => isVisible && this.refresh())
    let reach = state.peek()
    const unreached = state.subscribe((now) => {
      // what happened while nobody was there is in no event
      if (now === 'online' && reach !== 'online') this.refresh()
      reach = now
    })
    this.#stop = () => {
      this.#cancelNext()
      this.#isSoon = false
      unsubscribe()
      unseen()
      unreached()
    }
    void this.#ask()
  }

  #take(event: MeshEvent): void {
    this.#state.value = withEvent(this.#state.peek(), event)
    const { stale } = this.#state.peek()
    if (stale.nodes || stale.models || stale.tasks) this.#soon()
  }

  #soon(): void {
    if (this.#isSoon || this.#viewers === 0) return
    this.#isSoon = true
    this.#next(SETTLE_MS)
  }

  #next(ms: number): void {
    this.#cancelNext()
    this.#cancelNext = this.#clock.after(ms, () => {
      this.#isSoon = false
      void this.#ask()
    })
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) {
      this.#wantsAll = true
      return
    }
    if (!this.#visibility.isVisible() && this.#isLoaded.peek()) return this.#next(POLL_MS)
    this.#isAsking = true
    const { stale } = this.#state.peek()
    const isTurn = this.#polls++ % SELDOM_POLLS === 0
    const isSeldom = this.#wantsAll || stale.models || isTurn
    const wantsRecent = this.#wantsAll || stale.tasks
    this.#wantsAll = false
    try {
      await Promise.all([this.#askMesh(wantsRecent), ...(isSeldom ? [this.#askSeldom()] : [])])
      this.#problem.value = ''
      this.#isLoaded.value = true
      this.#sample()
      await this.#explain()
    } catch (thrown) {
      this.#wantsAll = true
      this.#problem.value = problemOf(thrown)
    } finally {
      this.#isAsking = false
      if (this.#viewers > 0) this.#next(this.#wantsAll && this.#problem.peek() === '' ? SETTLE_MS : POLL_MS)
    }
  }

  async #askMesh(wantsRecent: boolean): Promise<void> {
    const { events: mark } = this.#state.peek()
    const tasks = async (query: string) =>
      readList(await this.#gateway.get(`/mesh/v1/tasks?limit=${TASKS_PAGE}${query}`), readTask)
    const open = await tasks('&open=true')
    const [nodes, recent] = await Promise.all([
      this.#gateway.get('/mesh/v1/nodes').then((body) => readList(body, readNode)),
      wantsRecent ? tasks('') : undefined,
    ])
    const state = withNodes(this.#state.peek(), nodes, mark)
    this.#state.value = withTasks(state, { open, mark, ...(recent && { recent }) })
  }

  async #askSeldom(): Promise<void> {
    const sentAtMs = this.#clock.nowMs()
    const self = await this.#gateway.get('/mesh/v1/self')
    const clockMs = amount(fieldsOf(self)['clockMs'])
    // halfway between question and answer
    if (clockMs > 0) this.#skewMs = clockMs - (sentAtMs + this.#clock.nowMs()) / 2
    const [models, orders, devices] = await Promise.all([
      this.#gateway.get('/mesh/v1/models').then((body) => readList(body, readModel)),
      this.#gateway.get('/mesh/v1/replicas').then((body) => readList(body, readOrder)),
      this.#devices(),
    ])
    this.#extras.value = { models, orders, devices }
    const state = this.#state.peek()
    this.#state.value = { ...state, stale: { ...state.stale, models: false } }
  }

  async #devices(): Promise<readonly BridgedDevice[]> {
    try {
      return readList(await this.#gateway.get('/mesh/v1/devices'), readDevice)
    } catch (thrown) {
      // a key that may not see devices, or a coordinator that has none: the picture is whole without them
      if (thrown instanceof SkeinApiError && (thrown.status === 403 || thrown.status === 404)) return []
      throw thrown
    }
  }

  #sample(): void {
    const state = this.#state.peek()
    const open = [...state.tasks.values()].filter(isOpen)
    const running = open.filter((task) => task.state === 'running').length
    const sample = { atMs: this.nowMs(), generated: state.generated, running, waiting: open.length - running }
    this.#series.value = withSample(this.#series.peek(), sample)
  }

  /** Of tasks that have moved the bars are in the explanations. */
  async #explain(): Promise<void> {
    const wanted = [...this.#state.peek().tasks.values()].filter(
      (task) => lacksBars(task) && !this.#explained.has(`${task.taskId}#${task.attempts}`),
    )
    const attemptsOf = async (taskId: string): Promise<void> => {
      const explanation = readExplanation(await this.#gateway.get(`/mesh/v1/tasks/${taskId}/explain`))
      this.#state.value = withAttempts(this.#state.peek(), taskId, explanation.attempts)
    }
    await Promise.all(
      wanted.slice(0, EXPLAINED_AT_ONCE).map(async ({ taskId, attempts }) => {
        this.#explained.add(`${taskId}#${attempts}`)
        // purged meanwhile, perhaps: a lane without its bars is better than no picture
        await attemptsOf(taskId).catch(() => {})
      }),
    )
  }
}

function problemOf(thrown: unknown): Problem {
  if (!(thrown instanceof SkeinApiError)) return 'failed'
  if (thrown.status === 401) return 'key-needed'
  if (thrown.status === 403) return 'forbidden'
  return thrown.status === undefined || thrown.code === 'unreachable' ? 'offline' : 'failed'
}

const opened = new WeakMap<MeshGateway, LiveMesh>()

/** One picture for all pages of a gateway, so that going from page to page loses nothing. */
export function liveMeshOf(init: LiveMeshInit): LiveMesh {
  const known = opened.get(init.gateway)
  if (known !== undefined) return known
  const live = new LiveMesh(init)
  opened.set(init.gateway, live)
  return live
}

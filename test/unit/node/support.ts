/** What the node's unit tests share: throw-away folders, waiting for conditions, and an engine that obeys the test. */
import { asModelDigest, SkeinError, type ModelDigest, type TokenLogprob } from '../../../mesh/protocol/index.ts'
import { PushQueue, type ManualClock } from '../../../mesh/runtime/index.ts'
import {
  tailOf,
  type Engine,
  type EngineStats,
  type GenerationEvent,
  type GenerationRequest,
  type LoadedModel,
  type LoadRequest,
  type Tail,
} from '../../../node/engines/index.ts'
import type { ModelFile } from '../../../node/models/index.ts'

export { after, temporaryDirectory } from '../../fixtures/temporary.ts'

/** Turns of the event loop after which a condition counts as never met; about a second of an idle machine. */
const TURNS_MAX = 100_000

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Waits for `condition`, turning the event loop; with `step`, time moves by `stepMs` in each turn. */
export async function until(
  what: string,
  condition: () => boolean,
  step?: { clock: ManualClock; stepMs: number },
): Promise<void> {
  for (let turns = 0; turns < TURNS_MAX; turns++) {
    if (condition()) return
    await turn()
    if (step) await step.clock.advance(step.stepMs)
  }
  throw new SkeinError('INTERNAL', `never happened: ${what}`)
}

export const digestOf = (character: string): ModelDigest => asModelDigest(`sha256:${character.repeat(64)}`)

export const scriptedFile = (digest: ModelDigest = digestOf('a')): ModelFile => ({
  engine: 'echo',
  path: 'echo:scripted',
  digest,
  aliases: ['scripted'],
  sizeBytes: 0,
  contextTokens: 100,
  parameters: 0,
  quantization: 'none',
  hasChatTemplate: true,
  sampling: {},
})

/** One running generation of a `ScriptedEngine`, driven by the test. */
export class ScriptedRun {
  readonly request: GenerationRequest
  readonly events = new PushQueue<GenerationEvent>(100_000)
  #index: number

  /** Of a held attempt: what came with the commit. */
  committed: readonly number[] | undefined
  saidAtCommit: string | undefined

  constructor(request: GenerationRequest) {
    this.request = request
    this.#index = request.generated.length
    const commit = (tail: Tail): void => {
      const { ids, said } = tailOf(tail)
      this.committed = ids
      this.saidAtCommit = said
      this.#index += ids.length
    }
    request.hold?.then(commit, () => {})
  }

  progress(done: number, total: number, phase: 'waiting' | 'prefill' | 'decode' = 'prefill'): void {
    this.events.push({ type: 'progress', phase, done, total })
  }

  prepared(): void {
    this.events.push({ type: 'prepared' })
  }

  tokens(ids: readonly number[], text = ids.join(' '), logprobs?: readonly TokenLogprob[]): void {
    this.events.push({ type: 'tokens', index: this.#index, ids, text, ...(logprobs && { logprobs }) })
    this.#index += ids.length
  }

  end(text = '', stopIndex?: number): void {
    const stopped = stopIndex === undefined ? {} : { stopIndex }
    const usage = { promptTokens: 3, cachedTokens: 0, completionTokens: this.#index }
    const timing = { waitMs: 0.4, prefillMs: 1.6, decodeMs: 2 }
    this.events.push({ type: 'end', finishReason: 'stop', ...stopped, text, usage, timing })
    this.events.end()
  }
}

/** Loads when the test lets it, and generates what the test says. Measurements end with one event-less failure. */
export class ScriptedEngine implements Engine {
  readonly runs: ScriptedRun[] = []
  readonly #loads: (() => void)[] = []
  readonly #autoLoad: boolean
  isUnloaded = false
  loadError: SkeinError | undefined
  prefillTokensPending = 0
  server: EngineStats['server']
  onProgress: (share: number) => void = () => {}

  constructor(autoLoad = true) {
    this.#autoLoad = autoLoad
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    this.onProgress = onProgress ?? this.onProgress
    if (!this.#autoLoad) await new Promise<void>((resolve) => this.#loads.push(resolve))
    if (this.loadError) throw this.loadError
    return {
      engine: 'echo',
      contextTokens: request.contextTokens ?? 100,
      slots: request.slots,
      parameters: 0,
      quantization: 'none',
      sizeBytes: 0,
      hasChatTemplate: true,
      features: ['logprobs'],
      numerics: { engineBuild: 'scripted 1', flashAttention: false, batchTokens: 1, threads: 1 },
    }
  }

  finishLoading(): void {
    for (const resolve of this.#loads.splice(0)) resolve()
  }

  /** Runs of attempts; measurements are not among them. */
  get attempts(): ScriptedRun[] {
    return this.runs.filter((run) => !run.request.id.startsWith('measure'))
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    if (request.id.startsWith('measure')) throw new SkeinError('ENGINE_FAILED', 'a scripted engine has no speed')
    const run = new ScriptedRun(request)
    this.runs.push(run)
    const onAbort = (): void => run.events.fail(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      yield* run.events
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Ends every running attempt as the death of the engine's process would. */
  crash(): void {
    for (const run of this.runs) run.events.fail(new SkeinError('ENGINE_CRASHED', 'the engine process ended'))
  }

  stats(): EngineStats {
    const { prefillTokensPending, server } = this
    return { running: this.runs.length, prefillTokensPending, memoryBytes: 0, ...(server && { server }) }
  }

  async unload(): Promise<void> {
    this.isUnloaded = true
  }
}

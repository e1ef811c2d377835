/**
 * An engine without a model: it repeats the last user message, at a pace that its label sets. For tests of everything
 * around an engine, and for measuring what the mesh itself costs. It keeps every promise of the port: token `i` depends
 * on the prompt and `i` alone.
 */
import { LIMITS, SkeinError, type Prompt } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../../mesh/runtime/index.ts'
import { AttemptRun, eventsOf } from '../attempt-run.ts'
import type { Engine, EngineStats, GenerationEvent, GenerationRequest, LoadedModel, LoadRequest } from '../engine.ts'
import { parseEchoPath, type EchoOptions } from './echo-path.ts'

export interface EchoEngineComponents {
  readonly clock: Clock
}

/** Longest piece in code points: long words come in several tokens, so that stop strings cross their borders. */
const PIECE_LENGTH_MAX = 8
const PROGRESS_INTERVAL_MS = 500
/** What is echoed when the prompt says nothing. */
const DEFAULT_TEXT = 'one two three four five six seven eight nine ten '

/** Words with the space behind them, cut to pieces. */
function piecesOf(text: string): string[] {
  return (text.match(/\s*\S+\s*|\s+/gu) ?? []).flatMap((word) => {
    const points = [...word]
    const cuts = Math.ceil(points.length / PIECE_LENGTH_MAX)
    return Array.from({ length: cuts }, (_, i) =>
      points.slice(i * PIECE_LENGTH_MAX, (i + 1) * PIECE_LENGTH_MAX).join(''),
    )
  })
}

function echoedText(prompt: Prompt): string {
  const text =
    prompt.kind === 'text'
      ? prompt.text
      : (prompt.messages.findLast((message) => message.role === 'user')?.content ?? prompt.messages.at(-1)!.content)
  return text.trim() === '' ? DEFAULT_TEXT : `${text.trim()} `
}

const promptPieces = (prompt: Prompt): number =>
  prompt.kind === 'text'
    ? piecesOf(prompt.text).length
    : prompt.messages.reduce((sum, message) => sum + 1 + piecesOf(message.content).length, 0)

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export class EchoEngine implements Engine {
  readonly #clock: Clock
  readonly #runs = new Map<AttemptRun, { prefillTokens: number; cancel: AbortController }>()
  #options: EchoOptions | undefined
  #slots = 0
  #contextTokens = 0

  constructor(components: EchoEngineComponents) {
    this.#clock = components.clock
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    if (this.#options !== undefined) throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    const options = parseEchoPath(request.path)
    this.#options = options
    this.#slots = Math.min(request.slots, LIMITS.slotsPerModelMax)
    this.#contextTokens = Math.min(options.contextTokens, request.contextTokens ?? options.contextTokens)
    onProgress?.(1)
    return {
      engine: 'echo',
      contextTokens: this.#contextTokens,
      slots: this.#slots,
      parameters: 0,
      quantization: 'none',
      sizeBytes: 0,
      hasChatTemplate: true,
      numerics: { engineBuild: 'echo 1', flashAttention: false, batchTokens: options.tokensPerStep, threads: 1 },
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    if (this.#options === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    if (this.#runs.size >= this.#slots)
      throw new SkeinError('NO_FREE_SLOT', `all ${this.#slots} slots of the model are taken`)
    const promptTokens = promptPieces(request.prompt)
    const pieces = piecesOf(echoedText(request.prompt))
    const run = new AttemptRun({
      request,
      promptTokens,
      contextTokens: this.#contextTokens,
      vocabularySize: pieces.length,
      detokenize: (ids) => ids.map((id) => pieces[id]).join(''),
      clock: this.#clock,
    })
    const cancel = new AbortController()
    this.#runs.set(run, { prefillTokens: promptTokens + request.generated.length, cancel })
    void this.#play(run, pieces.length, this.#options, cancel.signal)
    yield* eventsOf(run, signal, () => {
      this.#runs.delete(run)
      cancel.abort()
    })
  }

  stats(): EngineStats {
    let prefillTokensPending = 0
    for (const state of this.#runs.values()) prefillTokensPending += state.prefillTokens
    return { running: this.#runs.size, prefillTokensPending, memoryBytes: process.memoryUsage.rss() }
  }

  async unload(): Promise<void> {
    this.#options = undefined
    for (const [run, { cancel }] of this.#runs) {
      run.fail(new SkeinError('ENGINE_FAILED', 'the model was unloaded'))
      cancel.abort()
    }
    this.#runs.clear()
  }

  async #play(run: AttemptRun, pieces: number, options: EchoOptions, signal: AbortSignal): Promise<void> {
    try {
      await this.#prefill(run, options, signal)
      let dueMs = this.#clock.nowMs()
      while (!run.ended) {
        if (options.tokensPerSecond === undefined) await nextTurn()
        else {
          dueMs += (1000 * options.tokensPerStep) / options.tokensPerSecond
          await sleep(this.#clock, Math.max(0, dueMs - this.#clock.nowMs()), signal)
        }
        if (signal.aborted) return
        this.#step(run, pieces, options)
      }
    } catch (error) {
      run.fail(error)
    }
  }

  #step(run: AttemptRun, pieces: number, options: EchoOptions): void {
    const index = run.answer.length
    const left = Math.min(options.tokensPerStep, (options.answerTokens ?? Infinity) - index)
    if (left > 0) run.deliver(Array.from({ length: left }, (_, i) => (index + i) % pieces))
    if (run.answer.length >= (options.answerTokens ?? Infinity)) run.finish('stop')
  }

  async #prefill(run: AttemptRun, options: EchoOptions, signal: AbortSignal): Promise<void> {
    const total = run.promptTokens + run.request.generated.length
    const rate = options.prefillTokensPerSecond ?? Infinity
    run.admit(0)
    const beganMs = this.#clock.nowMs()
    for (;;) {
      const spentMs = this.#clock.nowMs() - beganMs
      const leftMs = (1000 * total) / rate - spentMs
      if (leftMs <= 0) break
      const state = this.#runs.get(run)
      if (state) state.prefillTokens = Math.ceil((leftMs * rate) / 1000)
      run.progress('prefill', Math.floor((spentMs * rate) / 1000), total)
      // whole ms: a rest of 1e-13 ms is too short to move the clock, and would be slept for without end
      await sleep(this.#clock, Math.min(Math.ceil(leftMs), PROGRESS_INTERVAL_MS), signal)
    }
    const state = this.#runs.get(run)
    if (state) state.prefillTokens = 0
  }
}

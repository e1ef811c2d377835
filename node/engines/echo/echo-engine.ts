/**
 * An engine without a model: it repeats the last user message, at a pace that its label sets. For tests of everything
 * around an engine, and for measuring what the mesh itself costs. It keeps every promise of the port: token `i` depends
 * on the prompt and `i` alone, with a probability of 1. All that it waits for it waits for on its clock, so that a
 * simulation owns its time; without a pace it gives a step each turn of the event loop (`setImmediate`), and no clock
 * moves. Its label's options, such as `echo:?tps=50&cache=1`, are listed with `EchoOptions`.
 */
import {
  featuresNeeded,
  LIMITS,
  SkeinError,
  type Prompt,
  type TokenLogprob,
  type WorkResult,
} from '../../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../../mesh/runtime/index.ts'
import { AttemptRun, eventsOf, PROGRESS_INTERVAL_MS } from '../attempt-run.ts'
import {
  tailOf,
  type Engine,
  type EngineStats,
  type GenerationEvent,
  type GenerationRequest,
  type LoadedModel,
  type LoadRequest,
  type WorkRequest,
} from '../engine.ts'
import { echoFeatures, parseEchoPath, type EchoOptions } from './echo-path.ts'
import { echoed, piecesOf } from './echo-pieces.ts'
import { echoWork } from './echo-work.ts'

export interface EchoEngineComponents {
  readonly clock: Clock
}

/** What the engine keeps of a running attempt. */
interface Playing {
  readonly run: AttemptRun
  readonly cancel: AbortController
  readonly slot: Slot
  /** Pieces of the message that is echoed: the vocabulary of this attempt. */
  readonly pieces: readonly string[]
  readonly prompt: readonly string[]
  /** Prompt tokens, and those generated before, that are not prefilled yet. */
  prefillTokens: number
  /** Tokens made here. */
  made: number
}

interface Slot {
  isTaken: boolean
  /** The tokens of the last prompt and answer, as text. */
  remembered: readonly string[]
}

const RESIDENT_MS = 1000

/** What is echoed when the prompt says nothing. */
const DEFAULT_TEXT = 'one two three four five six seven eight nine ten '

function echoedText(prompt: Prompt): string {
  const text =
    prompt.kind === 'text'
      ? prompt.text
      : (prompt.messages.findLast((message) => message.role === 'user')?.content ?? prompt.messages.at(-1)!.content)
  return text.trim() === '' ? DEFAULT_TEXT : `${text.trim()} `
}

/** A message is a token for its role, and its pieces. */
const promptPieces = (prompt: Prompt): string[] =>
  prompt.kind === 'text'
    ? piecesOf(prompt.text)
    : prompt.messages.flatMap((message) => [`<${message.role}>`, ...piecesOf(message.content)])

/** A prompt with its answer, as the next turn of a chat repeats them. */
const conversation = (prompt: Prompt, promptTokens: readonly string[], answer: readonly string[]): string[] => [
  ...promptTokens,
  ...(prompt.kind === 'chat' ? ['<assistant>'] : []),
  ...answer,
]

function commonLength(a: readonly string[], b: readonly string[]): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}

function certain(piece: string, logprobs: number): TokenLogprob {
  const share = { bytes: new Uint8Array(Buffer.from(piece)), logprob: 0 }
  return { ...share, top: logprobs > 0 ? [share] : [] }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export class EchoEngine implements Engine {
  readonly #clock: Clock
  readonly #playing = new Set<Playing>()
  readonly #working = new Set<AbortController>()
  #loading: AbortController | undefined
  #options: EchoOptions | undefined
  #slots: readonly Slot[] = []
  #contextTokens = 0
  #resident = { atMs: -Infinity, bytes: 0 }

  constructor(components: EchoEngineComponents) {
    this.#clock = components.clock
  }

  async load(request: LoadRequest, onProgress?: (share: number) => void): Promise<LoadedModel> {
    if (this.#options !== undefined || this.#loading !== undefined)
      throw new SkeinError('MODEL_LOAD_FAILED', 'this engine has a model already')
    const options = parseEchoPath(request.path)
    this.#loading = new AbortController()
    try {
      if (options.loadMs !== undefined) await this.#load(options.loadMs, this.#loading.signal, onProgress)
    } finally {
      this.#loading = undefined
    }
    this.#options = options
    const slots = Math.min(request.slots, LIMITS.slotsPerModelMax)
    this.#slots = Array.from({ length: slots }, () => ({ isTaken: false, remembered: [] }))
    this.#contextTokens = Math.min(options.contextTokens, request.contextTokens ?? options.contextTokens)
    onProgress?.(1)
    return {
      engine: 'echo',
      contextTokens: this.#contextTokens,
      slots,
      parameters: 0,
      quantization: 'none',
      sizeBytes: 0,
      hasChatTemplate: !options.isMute,
      features: echoFeatures(options),
      isGenerator: !options.isMute,
      numerics: { engineBuild: 'echo 1', flashAttention: false, batchTokens: options.tokensPerStep, threads: 1 },
      continues: 'ids',
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    signal.throwIfAborted()
    const options = this.#options
    if (options === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    if (options.isMute) throw new SkeinError('INVALID_REQUEST', 'this echo makes no text', { param: 'model' })
    if (request.format !== undefined)
      throw new SkeinError('INVALID_REQUEST', 'the echo engine holds no answer to a format', {
        param: 'response_format',
      })
    if (featuresNeeded(request).includes('tools'))
      throw new SkeinError('INVALID_REQUEST', 'the echo engine calls no tools', { param: 'tools' })
    const prompt = promptPieces(request.prompt)
    const pieces = piecesOf(echoedText(request.prompt))
    const textOf = (ids: readonly number[]): string[] => ids.map((id) => pieces[id]!)
    const run = new AttemptRun({
      request,
      promptTokens: prompt.length,
      contextTokens: this.#contextTokens,
      vocabularySize: pieces.length,
      detokenize: (ids) => textOf(ids).join(''),
      tokenize: (said) => echoed(pieces, said).ids,
      againOf: (said) => echoed(pieces, said).again,
      thinking: options.thinking,
      clock: this.#clock,
    })
    const input = conversation(request.prompt, prompt, textOf(run.behind))
    const slot = this.#bestSlot(input)
    slot.isTaken = true
    const prefillTokens = prompt.length + run.behind.length
    const playing: Playing = { run, cancel: new AbortController(), slot, pieces, prompt, prefillTokens, made: 0 }
    this.#playing.add(playing)
    // the last token is always evaluated, to draw from
    void this.#play(playing, options, Math.min(commonLength(slot.remembered, input), prefillTokens - 1))
    yield* eventsOf(run, signal, () => this.#leave(playing))
  }

  async work({ work }: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    signal.throwIfAborted()
    const options = this.#options
    if (options === undefined) throw new SkeinError('ENGINE_FAILED', 'no model is loaded')
    if (!options.doesWork)
      throw new SkeinError('INVALID_REQUEST', `this echo does not ${work.kind}`, { param: 'model' })
    const result = echoWork(work, this.#contextTokens)
    const items = 'texts' in work ? work.texts.length : work.tensors.length
    const cancel = new AbortController()
    this.#working.add(cancel)
    try {
      if (options.itemMs === undefined) await nextTurn()
      else await sleep(this.#clock, items * options.itemMs, AbortSignal.any([signal, cancel.signal]))
      signal.throwIfAborted()
      cancel.signal.throwIfAborted()
      return result
    } finally {
      this.#working.delete(cancel)
    }
  }

  stats(): EngineStats {
    let prefillTokensPending = 0
    for (const { prefillTokens } of this.#playing) prefillTokensPending += prefillTokens
    return {
      running: this.#playing.size + this.#working.size,
      prefillTokensPending,
      memoryBytes: this.#residentBytes(),
    }
  }

  /** Read at most once in a second: the figures are asked for at the end of each attempt, and the system takes its time. */
  #residentBytes(): number {
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#resident.atMs >= RESIDENT_MS) this.#resident = { atMs: nowMs, bytes: process.memoryUsage.rss() }
    return this.#resident.bytes
  }

  async unload(): Promise<void> {
    const unloaded = new SkeinError('ENGINE_FAILED', 'the model was unloaded')
    this.#loading?.abort(unloaded)
    this.#options = undefined
    for (const cancel of this.#working) cancel.abort(unloaded)
    for (const playing of this.#playing) {
      playing.run.fail(unloaded)
      this.#leave(playing)
    }
  }

  /** Of the free slots the one that remembers most of `input`, else the lowest, as the llama engine has it. */
  #bestSlot(input: readonly string[]): Slot {
    let best: { slot: Slot; common: number } | undefined
    for (const slot of this.#slots) {
      if (slot.isTaken) continue
      const common = commonLength(slot.remembered, input)
      if (best === undefined || common > best.common) best = { slot, common }
    }
    if (best === undefined)
      throw new SkeinError('NO_FREE_SLOT', `all ${this.#slots.length} slots of the model are taken`)
    return best.slot
  }

  #leave(playing: Playing): void {
    if (!this.#playing.delete(playing)) return
    const { run, slot, pieces, prompt, made } = playing
    slot.isTaken = false
    if (this.#options?.isCached)
      slot.remembered = conversation(
        run.request.prompt,
        prompt,
        [...run.behind, ...run.answer.slice(run.answer.length - made)].map((id) => pieces[id]!),
      )
    playing.cancel.abort()
  }

  async #load(loadMs: number, signal: AbortSignal, onProgress: ((share: number) => void) | undefined): Promise<void> {
    const untilMs = this.#clock.nowMs() + loadMs
    onProgress?.(0)
    await this.#pause(untilMs, signal, (leftMs) => onProgress?.(1 - leftMs / loadMs))
  }

  async #play(playing: Playing, options: EchoOptions, cachedTokens: number): Promise<void> {
    const { run, cancel } = playing
    const { signal } = cancel
    try {
      run.admit(Math.min(cachedTokens, run.promptTokens))
      playing.prefillTokens -= cachedTokens
      await this.#prefill(playing, options, signal)
      playing.prefillTokens = tailOf(await run.prepared()).ids.length
      await this.#prefill(playing, options, signal)
      let dueMs = this.#clock.nowMs()
      while (!run.ended) {
        if (options.tokensPerSecond === undefined) await nextTurn()
        else {
          dueMs += (1000 * options.tokensPerStep) / options.tokensPerSecond
          await this.#pause(dueMs, signal, () => run.progress('decode', run.answer.length, run.request.maxTokens))
        }
        if (signal.aborted) return
        this.#step(playing, options)
      }
    } catch (error) {
      run.fail(error)
    }
  }

  #step(playing: Playing, options: EchoOptions): void {
    const { run, pieces } = playing
    const { logprobs, isEndless = false } = run.request
    const most = isEndless ? Infinity : (options.answerTokens ?? Infinity)
    // where the echo is: of an answer that was begun in other tokens, their number does not tell
    const index = playing.made + run.behind.length
    const left = Math.min(options.tokensPerStep, most - index)
    if (left > 0) {
      const ids = Array.from({ length: left }, (_, i) => (index + i) % pieces.length)
      playing.made += left
      run.deliver(ids, logprobs === undefined ? undefined : ids.map((id) => certain(pieces[id]!, logprobs)))
    }
    if (index + left >= most) run.finish('stop')
  }

  async #prefill(playing: Playing, options: EchoOptions, signal: AbortSignal): Promise<void> {
    const { run } = playing
    const rate = options.prefillTokensPerSecond ?? Infinity
    const total = run.promptTokens + run.answer.length
    const tell = (leftMs: number): void => {
      playing.prefillTokens = Math.ceil((leftMs * rate) / 1000)
      run.progress('prefill', total - playing.prefillTokens, total)
    }
    const ms = (1000 * playing.prefillTokens) / rate
    if (ms > 0) {
      tell(ms)
      await this.#pause(this.#clock.nowMs() + ms, signal, tell)
    }
    playing.prefillTokens = 0
  }

  /** Waits at least one turn of the clock, with a sign of life at every interval. */
  async #pause(untilMs: number, signal: AbortSignal, tell: (leftMs: number) => void): Promise<void> {
    for (;;) {
      // whole ms: a rest of 1e-13 ms is too short to move the clock, and would be slept for without end
      const waitMs = Math.max(0, Math.ceil(untilMs - this.#clock.nowMs()))
      await sleep(this.#clock, Math.min(waitMs, PROGRESS_INTERVAL_MS), signal)
      const leftMs = untilMs - this.#clock.nowMs()
      if (leftMs <= 0) return
      tell(leftMs)
    }
  }
}

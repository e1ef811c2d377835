/** One answer while it comes: signals that change at most once in a frame, however fast it comes. */
import { batch, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import type { AnswerDeviceCall } from '../../sdk/index.ts'
import type { Part } from '../store/index.ts'
import type { Told } from './notes.ts'
import type { Ask } from './ports.ts'
import type { DeviceCall, LiveAnswer, LivePhase, Made, Note, Problem } from './types.ts'

/** All of an answer at one moment. */
export interface LiveState {
  readonly phase: LivePhase
  readonly text: string
  readonly thought: string
  readonly note: Note | undefined
  readonly calls: readonly DeviceCall[]
  readonly made: Made
  readonly problem: Problem | undefined
}

export const EMPTY_STATE: LiveState = {
  phase: 'asking',
  text: '',
  thought: '',
  note: undefined,
  calls: [],
  made: {},
  problem: undefined,
}

const CALLS_MAX = 64
const MOVES_MAX = 64

/** A text that grows, in front of one that was there before a break: that one is shown until it is caught up with. */
export class GrowingText {
  #base: string
  #said = ''
  #isOnWay = true

  constructor(base: string) {
    this.#base = base
  }

  add(piece: string): void {
    // once it goes another way, what was there before is nothing to wait for
    this.#isOnWay &&=
      this.#said.length >= this.#base.length || this.#base.startsWith(piece, this.#said.length) || this.#reaches(piece)
    this.#said += piece
  }

  #reaches(piece: string): boolean {
    return piece.startsWith(this.#base.slice(this.#said.length))
  }

  get text(): string {
    return this.isBehind ? this.#base : this.#said
  }

  /** What was there before is not made again yet. */
  get isBehind(): boolean {
    return this.#isOnWay && this.#said.length < this.#base.length
  }

  /** 0 to 1. */
  get caughtUp(): number {
    return this.#base === '' ? 1 : Math.min(1, this.#said.length / this.#base.length)
  }
}

/** @param frame see `AnswerPorts`. */
export class Live implements LiveAnswer {
  readonly messageId: string
  readonly chatId: string
  readonly #frame: (run: () => void) => () => void
  readonly #onFlush: (() => void) | undefined
  readonly #signals: { readonly [Name in keyof LiveState]: Signal<LiveState[Name]> }
  #state: LiveState
  #takeBack: (() => void) | undefined

  constructor(
    { id, chatId }: Pick<Ask, 'id' | 'chatId'>,
    state: LiveState,
    frame: (run: () => void) => () => void,
    onFlush?: () => void,
  ) {
    this.messageId = id
    this.chatId = chatId
    this.#frame = frame
    this.#onFlush = onFlush
    this.#state = state
    this.#signals = {
      phase: signal(state.phase),
      text: signal(state.text),
      thought: signal(state.thought),
      note: signal(state.note),
      calls: signal(state.calls),
      made: signal(state.made),
      problem: signal(state.problem),
    }
  }

  get phase(): ReadonlySignal<LivePhase> {
    return this.#signals.phase
  }

  get text(): ReadonlySignal<string> {
    return this.#signals.text
  }

  get thought(): ReadonlySignal<string> {
    return this.#signals.thought
  }

  get note(): ReadonlySignal<Note | undefined> {
    return this.#signals.note
  }

  get calls(): ReadonlySignal<readonly DeviceCall[]> {
    return this.#signals.calls
  }

  get made(): ReadonlySignal<Made> {
    return this.#signals.made
  }

  get problem(): ReadonlySignal<Problem | undefined> {
    return this.#signals.problem
  }

  /** As it is now, also between frames. */
  get state(): LiveState {
    return this.#state
  }

  set(change: Partial<LiveState>): void {
    this.#state = { ...this.#state, ...change }
    this.#takeBack ??= this.#frame(() => {
      this.#takeBack = undefined
      this.#flush()
    })
  }

  /** Shows at once what there is: at the end, and where nobody looks. */
  settle(change: Partial<LiveState> = {}): void {
    this.#state = { ...this.#state, ...change }
    this.#takeBack?.()
    this.#takeBack = undefined
    this.#flush()
  }

  #flush(): void {
    const { phase, text, thought, note, calls, made, problem } = this.#state
    batch(() => {
      this.#signals.phase.value = phase
      this.#signals.text.value = text
      this.#signals.thought.value = thought
      this.#signals.note.value = note
      this.#signals.calls.value = calls
      this.#signals.made.value = made
      this.#signals.problem.value = problem
    })
    this.#onFlush?.()
  }
}

/** The calls with what a status tells of one. */
export function callsWith(calls: readonly DeviceCall[], told: Told): readonly DeviceCall[] {
  if (told.type === 'call') {
    const { call } = told
    const waiting = call.state === 'confirm' ? calls.findLastIndex(isOpen(call.tool)) : -1
    // the same call, which has begun and now waits for a person
    if (waiting !== -1) return calls.with(waiting, { ...calls[waiting]!, ...call })
    return [...calls, call].slice(-CALLS_MAX)
  }
  if (told.type !== 'call-ended') return calls
  const open = calls.findLastIndex(isOpen(told.tool))
  if (open === -1) return calls
  const { tool, outcome, text } = told
  const ended = outcome === 'done' ? { value: text } : { error: text }
  return calls.with(open, { tool, arguments: calls[open]!.arguments, state: 'ended', outcome, ...ended })
}

/**
 * Those of an answer that is over: of what had not ended, nobody will tell here any more. What waited may still be confirmed
 * elsewhere.
 */
export const callsAtEnd = (calls: readonly DeviceCall[]): readonly DeviceCall[] =>
  calls.map(({ call, ...told }) => (told.state === 'ended' ? told : { ...told, state: 'ended', outcome: 'unknown' }))

const isOpen =
  (tool: string) =>
  (call: DeviceCall): boolean =>
    call.tool === tool && call.state !== 'ended'

export const endedCall = ({ call: _, ...told }: AnswerDeviceCall): DeviceCall => ({ ...told, state: 'ended' })

/** `made` after a move; the node that lost it is the one that had it. */
export function movedTo(made: Made, to: string, reason: string | undefined, atMs: number): Made {
  const { node, moves = [] } = made
  if (node === to && moves.at(-1)?.to === to) return made
  const move = { ...(node !== undefined && { from: node }), to, ...(reason !== undefined && { reason }), atMs }
  return { ...made, node: to, moves: [...moves, move].slice(-MOVES_MAX) }
}

/** As the row keeps them. */
export function partsOf({ text, thought, calls }: LiveState): readonly Part[] {
  return [
    ...(thought === '' ? [] : [{ type: 'thought' as const, text: thought }]),
    ...calls.map((call) => ({ type: 'call' as const, call })),
    ...(text === '' ? [] : [{ type: 'text' as const, text }]),
  ]
}

/**
 * What tabs tell each other of answers. The tab that has an answer tells how it grows, ten times in a second at most; the others
 * show it. A message may be of another version of this page: what does not fit is dropped.
 */
import { EMPTY_STATE, type LiveState } from './live.ts'
import type { AnswerPorts } from './ports.ts'
import type { DeviceCall, LivePhase, Made, Note, Problem } from './types.ts'

export type TabMessage =
  /** A tab has come: tell it all. */
  | { readonly type: 'hello' }
  /** A request was written down, taken back or has gone out: look at the disk. */
  | { readonly type: 'asks'; readonly id: string }
  | { readonly type: 'stop'; readonly id: string }
  | TellMessage

export interface TellMessage {
  readonly type: 'tell'
  readonly id: string
  readonly chatId: string
  /** What of the texts is known already, in UTF-16 units; `text` and `thought` follow on it. */
  readonly textFrom: number
  readonly thoughtFrom: number
  readonly state: LiveState
}

const TELL_MS = 100
const ID_LENGTH_MAX = 200
/** Of one message, in UTF-16 units. */
const TEXT_LENGTH_MAX = 16 * 1024 * 1024
const LIST_MAX = 256
const JSON_LENGTH_MAX = 256 * 1024
const PHASES = ['outbox', 'asking', 'thinking', 'writing', 'done', 'stopped', 'failed'] as const

/** Tells the other tabs of one answer. */
export class Teller {
  readonly #ports: Pick<AnswerPorts, 'clock' | 'channel'>
  readonly #about: { readonly id: string; readonly chatId: string }
  readonly #state: () => LiveState
  #text = ''
  #thought = ''
  #toldAtMs = -Infinity
  #cancel: (() => void) | undefined

  constructor(
    ports: Pick<AnswerPorts, 'clock' | 'channel'>,
    about: { readonly id: string; readonly chatId: string },
    state: () => LiveState,
  ) {
    this.#ports = ports
    this.#about = about
    this.#state = state
  }

  changed(): void {
    if (this.#cancel) return
    const { clock } = this.#ports
    const waitMs = this.#toldAtMs + TELL_MS - clock.monotonicMs()
    if (waitMs <= 0) this.#tell()
    else this.#cancel = clock.after(waitMs, () => this.#tell())
  }

  /** All of it, to a tab that knows nothing. */
  tellAll(): void {
    this.#text = ''
    this.#thought = ''
    this.#tell()
  }

  /** The last word. */
  end(): void {
    this.#tell()
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #tell(): void {
    this.close()
    this.#toldAtMs = this.#ports.clock.monotonicMs()
    const state = this.#state()
    const textFrom = state.text.startsWith(this.#text) ? this.#text.length : 0
    const thoughtFrom = state.thought.startsWith(this.#thought) ? this.#thought.length : 0
    this.#text = state.text
    this.#thought = state.thought
    const rest = { text: state.text.slice(textFrom), thought: state.thought.slice(thoughtFrom) }
    const message: TellMessage = { type: 'tell', ...this.#about, textFrom, thoughtFrom, state: { ...state, ...rest } }
    this.#ports.channel.post(message)
  }
}

/** @returns undefined for what is no message of ours. */
export function tabMessageOf(message: unknown): TabMessage | undefined {
  if (!isRecord(message)) return undefined
  const { type, id } = message
  if (type === 'hello') return { type }
  if (typeof id !== 'string' || id === '' || id.length > ID_LENGTH_MAX) return undefined
  if (type === 'asks' || type === 'stop') return { type, id }
  return type === 'tell' ? tellOf(id, message) : undefined
}

function tellOf(
  id: string,
  { chatId, textFrom, thoughtFrom, state }: Record<string, unknown>,
): TellMessage | undefined {
  if (typeof chatId !== 'string' || chatId.length > ID_LENGTH_MAX || !isRecord(state)) return undefined
  if (!isCount(textFrom) || !isCount(thoughtFrom)) return undefined
  const { phase: told, text, thought, note, calls, made, problem } = state
  const phase = PHASES.find((each) => each === told)
  if (phase === undefined || !isText(text) || !isText(thought)) return undefined
  if (
    !Array.isArray(calls) ||
    calls.length > LIST_MAX ||
    !calls.every(isCall) ||
    !isSmall([note, calls, made, problem])
  )
    return undefined
  return {
    ...{ type: 'tell', id, chatId, textFrom, thoughtFrom },
    state: {
      ...{ phase, text, thought, calls: calls as DeviceCall[] },
      note: isRecord(note) && typeof note['kind'] === 'string' ? (note as Note) : undefined,
      made: isRecord(made) ? (made as Made) : {},
      problem: isProblem(problem) ? problem : undefined,
    },
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= TEXT_LENGTH_MAX
const isCall = (value: unknown): boolean =>
  isRecord(value) && typeof value['tool'] === 'string' && typeof value['arguments'] === 'string'
const isProblem = (value: unknown): value is Problem =>
  isRecord(value) && typeof value['kind'] === 'string' && Array.isArray(value['actions'])
const isSmall = (value: unknown): boolean => JSON.stringify(value).length <= JSON_LENGTH_MAX

/** What a tab shows after it was told; undefined when it has missed something before, and is to ask for all. */
export function toldState(
  before: LiveState = EMPTY_STATE,
  { textFrom, thoughtFrom, state }: TellMessage,
): LiveState | undefined {
  if (textFrom > before.text.length || thoughtFrom > before.thought.length) return undefined
  return {
    ...state,
    text: before.text.slice(0, textFrom) + state.text,
    thought: before.thought.slice(0, thoughtFrom) + state.thought,
  }
}

export const isOver = (phase: LivePhase): boolean => phase === 'done' || phase === 'stopped' || phase === 'failed'

/**
 * Nodes that lie. What is well-formed and in its turn cannot be told from the truth: such tokens carry a mark that says
 * which attempt and index they are of. What nobody may ever deliver is marked as unlawful.
 */
import {
  packTokenIds,
  unpackTokenIds,
  type AnyFrame,
  type AttemptTokens,
  type Frame,
} from '../../mesh/protocol/index.ts'
import type { TappedStream } from './tap.ts'
import type { Choices } from './world.ts'

export const LIES = [
  'repeats frames',
  'skips indices',
  'older fence',
  'newer fence',
  'goes on after the end',
  'sends too much',
  'progress for ever',
  'accepts and is mute',
  'ends without a final frame',
  'wrong usage',
  'strange token ids',
  'claims to hold attempts',
  'claims speed',
  'does not wait for the commit',
] as const
export type Lie = (typeof LIES)[number]

/** In text that must never reach a client. */
export const UNLAWFUL = '⟦!'
/** In place of an honest token's text. */
export const markOf = (fence: number, index: number): string => `⟦${fence}:${index}⟧`
/** Claimed speed is this much above the true one. */
export const BOAST = 100
/** Of no vocabulary here, and no piece of text: behind the text of a lie an echo would not know its place. */
const STRANGE_ID = 2 ** 23
const SHARE = 0.35

interface Told {
  fence: number
  /** Of the first token that it is to make. */
  index: number
  isMute: boolean
}

export class Liar {
  readonly #lies: ReadonlySet<Lie>
  readonly #choices: Choices
  readonly #told = new Map<number, Told>()

  constructor(lies: readonly Lie[], choices: Choices) {
    this.#lies = new Set(lies)
    this.#choices = choices
  }

  /** What the node sends in place of `frame`. */
  distort(stream: TappedStream, frame: Frame): readonly Frame[] {
    if (stream.protocol === 'control') return this.#control(frame)
    const told = this.#of(stream)
    if (told.isMute) return this.#does('progress for ever') ? [progress(told.fence)] : []
    switch (frame.type) {
      case 'attempt.accepted':
        told.fence = frame.fence
        told.isMute = this.#tells('accepts and is mute') || this.#tells('progress for ever')
        return [frame]
      case 'attempt.prepared':
        // after `prepared` a token may be in its turn: the commit may have met it on the way
        return [...(this.#does('does not wait for the commit') ? early(told) : []), frame]
      case 'attempt.tokens':
        return this.#tokens(frame)
      case 'attempt.end':
        return this.#end(frame)
      default:
        return [frame]
    }
  }

  /** What the node was asked. */
  hear(stream: TappedStream, frame: AnyFrame): void {
    const first = frame as Frame
    if (first.type === 'attempt.start') this.#of(stream).index = first.generated.length / 4
  }

  /** Whether it goes on to say nothing on this stream. */
  isMute(stream: TappedStream): boolean {
    return this.#told.get(stream.number)?.isMute ?? false
  }

  #of(stream: TappedStream): Told {
    const told = this.#told.get(stream.number) ?? { fence: 0, index: 0, isMute: false }
    this.#told.set(stream.number, told)
    return told
  }

  #does(lie: Lie): boolean {
    return this.#lies.has(lie)
  }

  #tells(lie: Lie): boolean {
    return this.#does(lie) && this.#choices.chance(SHARE)
  }

  #control(frame: Frame): readonly Frame[] {
    if (frame.type !== 'control.held' || !this.#does('claims to hold attempts')) return [frame]
    const attempts = frame.attempts.map((each) => ({
      ...each,
      index: each.index + this.#choices.whole(0, 40),
      ended: true,
    }))
    return [{ ...frame, attempts }]
  }

  #tokens(frame: AttemptTokens): readonly Frame[] {
    const { fence, index } = frame
    const ids = unpackTokenIds(frame.ids)!
    const honest: AttemptTokens = {
      ...frame,
      text: ids.map((_, i) => markOf(fence, index + i)).join(''),
      ...(this.#tells('strange token ids') && { ids: packTokenIds(ids.map(() => STRANGE_ID)) }),
    }
    const unlawful = (change: Partial<AttemptTokens>): AttemptTokens => ({
      ...honest,
      ...change,
      text: `${UNLAWFUL}${fence}:${index}⟧`,
    })
    const next = index + ids.length
    return [
      ...(this.#tells('older fence') ? [unlawful({ fence: Math.max(0, fence - 1) })] : []),
      ...(this.#tells('newer fence') ? [unlawful({ fence: fence + 1 })] : []),
      honest,
      ...(this.#tells('repeats frames') ? [unlawful({})] : []),
      ...(this.#tells('skips indices') ? [unlawful({ index: next + this.#choices.whole(1, 5) })] : []),
      ...(this.#tells('sends too much') ? [unlawful({ index: next, ids: packTokenIds(new Array(500).fill(0)) })] : []),
    ]
  }

  #end(frame: Extract<Frame, { type: 'attempt.end' }>): readonly Frame[] {
    if (this.#tells('ends without a final frame')) return []
    const { usage, fence } = frame
    const end = this.#tells('wrong usage')
      ? { ...frame, usage: { ...usage, promptTokens: 1e9, completionTokens: usage.completionTokens * 10 } }
      : frame
    if (!this.#tells('goes on after the end')) return [end]
    const after = { index: usage.completionTokens, ids: packTokenIds([0]), text: `${UNLAWFUL}${fence}:end⟧` }
    return [end, { type: 'attempt.tokens', fence, ...after }, end]
  }
}

/** Tokens of a held attempt, one of which is due whatever the answer's length is by now. */
const early = ({ fence, index }: Told): Frame[] =>
  Array.from({ length: 40 }, (_, i) => ({
    type: 'attempt.tokens',
    fence,
    index: index + i,
    ids: packTokenIds([0]),
    text: `${UNLAWFUL}${fence}:early⟧`,
  }))

const progress = (fence: number): Frame => ({ type: 'attempt.progress', fence, phase: 'prefill', done: 1, total: 2 })

/**
 * Whoever follows a task: each reads the answer at its own pace from its own place, and gets what is said on the way. The
 * answer itself is the buffer, so that a slow follower costs no memory of its own.
 */
import type { SkeinError } from '../../mesh/protocol/index.ts'
import { diverged, type Answer } from './answer.ts'
import type { TaskEvent } from './events.ts'

type Said = Extract<TaskEvent, { type: 'status' | 'started' }>
type End = { readonly end: Extract<TaskEvent, { type: 'end' }> } | { readonly error: SkeinError }

/** Of what is said, the newest stay for a follower that does not come for it. */
const SAID_MAX = 64

interface Follower {
  readonly said: Said[]
  /** Tokens of the answer that it has. */
  at: number
  /** What it waits for is lost, and is made again. */
  hasDiverged: boolean
  wake: () => void
}

export interface FollowersInit {
  readonly answer: Answer
  /** The last follower left before the end. */
  readonly onLeft: () => void
  /** A follower came. */
  readonly onCame: () => void
}

export class Followers {
  readonly #init: FollowersInit
  readonly #followers = new Set<Follower>()
  /** Told to those who come later: where the answer is being made, and the last that was said. */
  #started: Said | undefined
  #status: Said | undefined
  #end: End | undefined
  #isHeld = false

  constructor(init: FollowersInit) {
    this.#init = init
  }

  get count(): number {
    return this.#followers.size
  }

  say(said: Said): void {
    if (said.type === 'started') {
      this.#started = said
      this.#status = undefined
    } else this.#status = said
    for (const follower of this.#followers) {
      if (follower.said.length >= SAID_MAX) follower.said.shift()
      follower.said.push(said)
      follower.wake()
    }
  }

  /** Nobody gets anything of the answer until it is released. */
  get isHeld(): boolean {
    return this.#isHeld
  }

  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    this.grown()
  }

  /** The answer has grown. */
  grown(): void {
    for (const follower of this.#followers) follower.wake()
  }

  /** The answer is made again from where it stands now: those who had more, and wait for the rest, wait in vain. */
  remade(): void {
    for (const follower of this.#followers) {
      if (follower.at > this.#init.answer.length) follower.hasDiverged = true
      follower.wake()
    }
  }

  /** How the task ended; the first word holds. */
  end(end: End): void {
    this.#end ??= end
    for (const follower of this.#followers) follower.wake()
  }

  /** As `TaskHandle.follow`. */
  async *follow(after: number, signal?: AbortSignal): AsyncGenerator<TaskEvent, void, undefined> {
    signal?.throwIfAborted()
    const { answer } = this.#init
    const follower: Follower = { said: [], at: after, hasDiverged: false, wake: () => {} }
    for (const said of [this.#started, this.#status]) if (said) follower.said.push(said)
    const onAbort = (): void => follower.wake()
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#followers.add(follower)
    this.#init.onCame()
    try {
      for (;;) {
        signal?.throwIfAborted()
        if (follower.hasDiverged) throw diverged()
        for (let said = follower.said.shift(); said !== undefined; said = follower.said.shift()) yield said
        const tokens = this.#isHeld ? undefined : answer.read(follower.at)
        if (tokens) {
          follower.at = tokens.index + tokens.count
          yield tokens
          continue
        }
        if (this.#end) {
          if ('error' in this.#end) throw this.#end.error
          return yield this.#end.end
        }
        if (follower.said.length > 0) continue
        await new Promise<void>((resolve) => (follower.wake = resolve))
        follower.wake = () => {}
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#followers.delete(follower)
      if (this.#followers.size === 0 && !this.#end) this.#init.onLeft()
    }
  }
}

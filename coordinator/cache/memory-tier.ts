/** Kept answers in memory, within a bound of bytes: the one that was longest not asked for makes place. */
import type { AnswerKey } from './key.ts'
import { bytesOf, type KeptAnswer } from './kept-answer.ts'

export class MemoryTier {
  readonly #bytesMax: number
  /** In the order of their last use: a map keeps the order of insertion. */
  readonly #answers = new Map<AnswerKey, KeptAnswer>()
  #bytes = 0
  #evicted = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get entries(): number {
    return this.#answers.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Answers that made place, since the start. */
  get evicted(): number {
    return this.#evicted
  }

  get(key: AnswerKey): KeptAnswer | undefined {
    const answer = this.#answers.get(key)
    if (answer === undefined) return undefined
    this.#answers.delete(key)
    this.#answers.set(key, answer)
    return answer
  }

  put(key: AnswerKey, answer: KeptAnswer): void {
    this.delete(key)
    const bytes = bytesOf(answer)
    if (bytes > this.#bytesMax) return
    this.#answers.set(key, answer)
    this.#bytes += bytes
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#bytesMax) return
      this.delete(oldest)
      this.#evicted++
    }
  }

  delete(key: AnswerKey): void {
    const answer = this.#answers.get(key)
    if (answer === undefined) return
    this.#answers.delete(key)
    this.#bytes -= bytesOf(answer)
  }

  /** Deletes those from before `wallMs`. Returns how many. */
  expire(wallMs: number): number {
    const old = [...this.#answers].filter(([, { madeAtMs }]) => madeAtMs < wallMs)
    for (const [key] of old) this.delete(key)
    return old.length
  }

  clear(): void {
    this.#answers.clear()
    this.#bytes = 0
  }
}

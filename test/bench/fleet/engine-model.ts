/**
 * A node's engine between events, as `node/engines/llama` works: in steps of one token for each sequence that decodes
 * and a chunk of prompt, shared alike by those that prefill. Rates are constant between events, so that time is moved
 * from event to event. A slot keeps the state of its last prompt; a newcomer takes the free slot that holds most of its
 * prompt, else the lowest.
 */
import { decodeRate } from '../../../coordinator/scheduler/index.ts'
import type { Machine } from './machines.ts'
import type { Request, Segment } from './traces.ts'

export interface Job {
  readonly request: Request
  slot: number
  cachedTokens: number
  prefillLeft: number
  decodeLeft: number
  firstTokenMs: number
  endMs: number
}

const DONE = 1e-6
/** `node/engines/llama/decode-loop.ts`. */
const PREFIX_TOKENS_MIN = 16

export class EngineModel {
  readonly machine: Machine
  readonly jobs: Job[] = []
  /** Jobs that wait here for a slot; of the oracle alone, since others wait at the coordinator. */
  readonly queue: Job[] = []
  readonly #states: (readonly Segment[])[]
  #nowMs = 0
  /** When the model is in memory; `undefined` before its first use. */
  residentAtMs: number | undefined

  constructor(machine: Machine) {
    this.machine = machine
    this.#states = Array.from({ length: machine.slots }, () => [])
    this.residentAtMs = machine.loadMs === 0 ? 0 : undefined
  }

  clone(): EngineModel {
    const copy = new EngineModel(this.machine)
    for (const job of this.jobs) copy.jobs.push({ ...job })
    for (const job of this.queue) copy.queue.push({ ...job })
    for (const [i, state] of this.#states.entries()) copy.#states[i] = state
    copy.#nowMs = this.#nowMs
    copy.residentAtMs = this.residentAtMs
    return copy
  }

  add(request: Request, nowMs: number): Job {
    this.advance(nowMs)
    // Loading takes a third longer than was expected of it.
    this.residentAtMs ??= nowMs + (this.machine.loadMs * 4) / 3
    const decodeLeft = request.answer.tokens - 1
    const job = { request, slot: -1, cachedTokens: 0, prefillLeft: 0, decodeLeft, firstTokenMs: -1, endMs: -1 }
    this.queue.push(job)
    this.#admit()
    return job
  }

  #admit(): void {
    while (this.queue.length > 0 && this.jobs.length < this.machine.slots) {
      const job = this.queue.shift()!
      const used = new Set(this.jobs.map((each) => each.slot))
      let best = { slot: -1, tokens: -1 }
      for (let slot = 0; slot < this.machine.slots; slot++) {
        if (used.has(slot)) continue
        const common = commonTokens(this.#states[slot]!, job.request.prompt)
        const tokens = common < PREFIX_TOKENS_MIN ? 0 : common
        if (tokens > best.tokens) best = { slot, tokens }
      }
      job.slot = best.slot
      job.cachedTokens = Math.min(best.tokens, job.request.promptTokens - 1)
      job.prefillLeft = job.request.promptTokens - job.cachedTokens
      this.jobs.push(job)
    }
  }

  get prefillTokensPending(): number {
    return this.jobs.reduce((sum, job) => sum + Math.max(job.prefillLeft, 0), 0)
  }

  /** Tokens per ms of each that prefills and of each that decodes. */
  #rates(): { prefill: number; decode: number } {
    const { speed, truth, chunkTokens } = this.machine
    const prefilling = this.jobs.filter((job) => job.prefillLeft > 0).length
    const decoding = this.jobs.length - prefilling
    const decodeMs = decoding > 0 ? 1000 / (decodeRate(speed, decoding) * truth) : 0
    const chunkMs = prefilling > 0 ? (chunkTokens * 1000) / (speed.prefillTokensPerSecond * truth) : 0
    const stepMs = decodeMs + chunkMs
    return { prefill: prefilling > 0 ? chunkTokens / prefilling / stepMs : 0, decode: decoding > 0 ? 1 / stepMs : 0 }
  }

  /** Time of its next event by itself; infinite when there is none. */
  nextMs(): number {
    if (this.jobs.length === 0) return Number.POSITIVE_INFINITY
    const beginMs = Math.max(this.#nowMs, this.residentAtMs ?? 0)
    const { prefill, decode } = this.#rates()
    let leastMs = Number.POSITIVE_INFINITY
    for (const { prefillLeft, decodeLeft } of this.jobs)
      leastMs = Math.min(leastMs, prefillLeft > 0 ? prefillLeft / prefill : decodeLeft / decode)
    return beginMs + leastMs
  }

  /** Moves to `nowMs`, at or before `nextMs()`. Returns the jobs whose first token came, and those that ended. */
  advance(nowMs: number): { readonly began: Job[]; readonly ended: Job[] } {
    const elapsedMs = nowMs - Math.max(this.#nowMs, Math.min(this.residentAtMs ?? 0, nowMs))
    const rates = this.#rates()
    const began: Job[] = []
    this.#nowMs = nowMs
    for (const job of this.jobs) {
      if (job.prefillLeft > 0) {
        job.prefillLeft -= rates.prefill * elapsedMs
        if (job.prefillLeft > DONE) continue
        job.prefillLeft = 0
        job.firstTokenMs = nowMs
        began.push(job)
      } else job.decodeLeft -= rates.decode * elapsedMs
    }
    const ended = this.jobs.filter((job) => job.prefillLeft === 0 && job.decodeLeft <= DONE)
    for (const job of ended) {
      job.endMs = nowMs
      this.#states[job.slot] = [...job.request.prompt, job.request.answer]
      this.jobs.splice(this.jobs.indexOf(job), 1)
    }
    if (ended.length > 0) this.#admit()
    return { began, ended }
  }
}

function commonTokens(a: readonly Segment[], b: readonly Segment[]): number {
  let tokens = 0
  for (let i = 0; i < a.length && i < b.length && a[i]!.id === b[i]!.id; i++) tokens += a[i]!.tokens
  return tokens
}

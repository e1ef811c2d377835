/** How devices have answered calls, whoever made them: by it those that answer are chosen before those that do not. */
import { movingAverage } from '../../mesh/runtime/index.ts'
import type { CallEnd, StoredCall } from './store.ts'

/** Calls of a device that are looked back at. */
const KEPT = 16
/** Of the newest call, in the average of times. */
const WEIGHT = 0.25

interface Entry {
  /** The newest last: whether each was done. */
  readonly done: boolean[]
  tookMs: number | undefined
}

export class CallRecords {
  readonly #entries = new Map<string, Entry>()

  /** @param tookMs from its sending to its end; absent where that is not known. */
  note({ device }: StoredCall, { outcome }: CallEnd, tookMs?: number): void {
    let entry = this.#entries.get(device)
    if (entry === undefined) this.#entries.set(device, (entry = { done: [], tookMs: undefined }))
    entry.done.push(outcome === 'done')
    if (entry.done.length > KEPT) entry.done.shift()
    if (outcome === 'done' && tookMs !== undefined) entry.tookMs = movingAverage(entry.tookMs, tookMs, WEIGHT)
  }

  of(device: string): { readonly failures: number; readonly tookMs?: number } {
    const { done = [], tookMs } = this.#entries.get(device) ?? {}
    return { failures: done.filter((isDone) => !isDone).length, ...(tookMs !== undefined && { tookMs }) }
  }

  forget(device: string): void {
    this.#entries.delete(device)
  }
}

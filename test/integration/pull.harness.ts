/** What the tests of pulling share: a store in a directory of its own, models of any size, and a clock that runs fast. */
import { createCipheriv } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SystemClock, SystemRandom, type CancelTimer, type Clock } from '../../mesh/runtime/index.ts'
import {
  ModelStore,
  pull,
  systemDisk,
  type Disk,
  type PartHandle,
  type Pulled,
  type PullEvent,
  type PullInit,
} from '../../node/models/store/index.ts'
import { ggufBytes } from '../unit/node/gguf-bytes.ts'
import type { HubDouble } from './pull.hub.ts'

/** Waits and timeouts pass this much faster than they are. */
const HASTE = 40

/** Time as it is, with waits that are short. */
export class HastyClock implements Clock {
  readonly #system = new SystemClock(true)

  wallMs(): number {
    return this.#system.wallMs()
  }

  nowMs(): number {
    return this.#system.nowMs() * HASTE
  }

  timer(delayMs: number, fire: () => void): CancelTimer {
    return this.#system.timer(delayMs / HASTE, fire)
  }
}

/** A GGUF file of `sizeBytes`, whose tail is noise. */
export function modelBytes(sizeBytes: number, seed = 1, words: readonly string[] = ['a']): Buffer {
  const head = ggufBytes({ name: `model ${seed}`, fileType: 7, words })
  return Buffer.concat([head, noise(Math.max(0, sizeBytes - head.length), seed)])
}

const noise = (bytes: number, seed: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(bytes))

/** A disk on which writing fails as on a full one, once `quotaBytes` are used. */
export class QuotaDisk implements Disk {
  quotaBytes: number
  usedBytes = 0

  constructor(quotaBytes: number) {
    this.quotaBytes = quotaBytes
  }

  space(path: string): ReturnType<Disk['space']> {
    return systemDisk.space(path)
  }

  async open(path: string): Promise<PartHandle> {
    const handle = await systemDisk.open(path)
    return {
      read: (...args) => handle.read(...args),
      truncate: (bytes) => handle.truncate(bytes),
      datasync: () => handle.datasync(),
      close: () => handle.close(),
      write: (buffer, offset, length, position) => {
        this.usedBytes += length
        if (this.usedBytes <= this.quotaBytes) return handle.write(buffer, offset, length, position)
        const full = Object.assign(new TypeError('no space left on device'), { code: 'ENOSPC' })
        return Promise.reject(full)
      },
    }
  }
}

export interface Bench {
  readonly dataDir: string
  readonly store: ModelStore
  readonly events: PullEvent[]
  pull(
    reference: string,
    init?: Partial<PullInit> & { disk?: Disk; token?: string; signal?: AbortSignal },
  ): Promise<Pulled>
  remove(): Promise<void>
}

/** A store, and pulls into it from `hub`. */
export async function createBench(hub: HubDouble, dataDir?: string): Promise<Bench> {
  const dir = dataDir ?? (await mkdtemp(join(tmpdir(), 'skein-pull-')))
  const clock = new HastyClock()
  const random = new SystemRandom()
  // locks wait in real time: what holds them is real work
  const store = new ModelStore({ clock: new SystemClock(true), random }, dir)
  const events: PullEvent[] = []
  return {
    dataDir: dir,
    store,
    events,
    pull: (reference, { disk, token, signal, ...init } = {}) => {
      const endpoint = { endpoint: new URL(hub.endpoint), ...(token !== undefined && { token }) }
      const components = { clock, random, store, hub: endpoint, ...(disk && { disk }) }
      const onEvent = (event: PullEvent): void => void events.push(event)
      return pull(components, reference, { keepFree: { bytes: 0 }, onEvent, ...init }, signal ?? never)
    },
    remove: () => rm(dir, { recursive: true, force: true, maxRetries: 5 }),
  }
}

const never = new AbortController().signal

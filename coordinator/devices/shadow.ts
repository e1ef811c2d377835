/**
 * What actuators are wanted to have, brought to devices that come back. Of each wish one call is made in each time that a
 * device is there: what it refuses, or undoes, is not forced on it again and again. The newest wish wins.
 */
import type { Logger } from '../../mesh/runtime/index.ts'
import type { DeviceBook } from './book.ts'
import type { CallHandle, CallRequest } from './desk.ts'

export interface ShadowComponents {
  readonly log: Logger
  readonly book: DeviceBook
  readonly isReachable: (id: string) => boolean
  readonly begin: (request: CallRequest) => CallHandle
}

interface Entry {
  /** Capabilities with the wish that was brought to them since the device came. */
  readonly brought: Map<string, number>
  /** Of which a call runs. */
  readonly running: Set<string>
}

/** Whose share such calls are. */
export const SHADOW_TENANT = 'shadow'

export class Shadow {
  readonly #components: ShadowComponents
  readonly #entries = new Map<string, Entry>()

  constructor(components: ShadowComponents) {
    this.#components = components
  }

  /** The device, or its bridge, came or went. */
  changed(id: string): void {
    this.#entries.get(id)?.brought.clear()
    this.sync(id)
  }

  forget(id: string): void {
    this.#entries.delete(id)
  }

  /** Brings the device what it lacks, if it can be reached. */
  sync(id: string): void {
    const { book, isReachable } = this.#components
    if (!isReachable(id)) return
    for (const { name, value, atMs } of book.desiredOf(id)) {
      const entry = this.#entry(id)
      const isBrought = entry.brought.get(name) === atMs || entry.running.has(name)
      if (isBrought || book.last(id, name)?.value === value) continue
      entry.brought.set(name, atMs)
      this.#bring(id, entry, { name, value })
    }
  }

  #entry(id: string): Entry {
    let entry = this.#entries.get(id)
    if (entry === undefined) this.#entries.set(id, (entry = { brought: new Map(), running: new Set() }))
    return entry
  }

  #bring(
    id: string,
    { running }: Entry,
    { name, value }: Pick<CallRequest, 'value'> & { readonly name: string },
  ): void {
    const { log, begin } = this.#components
    try {
      const { ended } = begin({
        ...{ device: id, capability: name, op: 'write', origin: 'shadow', tenant: SHADOW_TENANT },
        ...{ level: 'act', isAdmin: false, isConfirmed: true },
        ...(value !== undefined && { value }),
      })
      running.add(name)
      const after = (): void => {
        running.delete(name)
        // a newer wish may have come
        this.sync(id)
      }
      void ended.then(after, after)
    } catch (error) {
      log.warn({ err: error, device: id, capability: name }, 'what is desired of a device could not be brought to it')
    }
  }
}

/**
 * Sessions of clients of the older era, which begin with `initialize` and say by another request which of theirs is to end.
 * Their number is bounded: a client whose session was taken back is told 404, and begins anew.
 */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { RpcId } from './mcp-messages.ts'

/** Of a session's id: nobody guesses it, though a key is asked for all the same. */
const ID_BYTES = 24

export interface McpSession {
  readonly id: string
  readonly tenant: string
  readonly version: string
  /** How to end the calls that run, by the ids of their requests. */
  readonly calls: Map<string, () => void>
}

interface Entry extends McpSession {
  usedAtMs: number
}

/** Ids of one kind and of the other are not equal. */
export const callKey = (id: RpcId): string => `${typeof id} ${id}`

export class McpSessions {
  readonly #clock: Clock
  readonly #random: Random
  /** The longest unused first. */
  readonly #sessions = new Map<string, Entry>()

  constructor({ clock, random }: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = clock
    this.#random = random
  }

  get size(): number {
    return this.#sessions.size
  }

  /** @throws SkeinError SATURATED when all sessions that there may be have calls that run. */
  open(tenant: string, version: string): McpSession {
    this.#expire()
    const own = [...this.#sessions.values()].filter((session) => session.tenant === tenant)
    if (own.length >= LIMITS.mcpSessionsPerTenantMax) this.#evict(own)
    else if (this.#sessions.size >= LIMITS.mcpSessionsMax) this.#evict(this.#sessions.values())
    const id = Buffer.from(this.#random.bytes(ID_BYTES)).toString('base64url')
    const session: Entry = { id, tenant, version, calls: new Map(), usedAtMs: this.#clock.nowMs() }
    this.#sessions.set(id, session)
    return session
  }

  /** @throws SkeinError NOT_FOUND, for one of another tenant as for none. */
  of(id: string, tenant: string): McpSession {
    this.#expire()
    const session = this.#sessions.get(id)
    if (session?.tenant !== tenant) throw new SkeinError('NOT_FOUND', 'there is no such session; begin with initialize')
    session.usedAtMs = this.#clock.nowMs()
    // to the end of the order
    this.#sessions.delete(id)
    this.#sessions.set(id, session)
    return session
  }

  /** Ends it, and what runs in it. @throws SkeinError NOT_FOUND. */
  end(id: string, tenant: string): void {
    const { calls } = this.of(id, tenant)
    this.#sessions.delete(id)
    for (const cancel of calls.values()) cancel()
  }

  #expire(): void {
    const beforeMs = this.#clock.nowMs() - LIMITS.mcpSessionIdleMs
    for (const { id, usedAtMs, calls } of this.#sessions.values()) {
      if (usedAtMs > beforeMs) return
      if (calls.size === 0) this.#sessions.delete(id)
    }
  }

  #evict(candidates: Iterable<Entry>): void {
    for (const { id, calls } of candidates) if (calls.size === 0) return void this.#sessions.delete(id)
    throw new SkeinError('SATURATED', 'there are too many sessions in which tools run', { retryAfterSeconds: 10 })
  }
}

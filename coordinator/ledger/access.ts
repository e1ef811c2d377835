/**
 * What can happen to a key of a client, in the past tense. A key is what `coordinator/access` makes of its events. The
 * secret itself is nowhere: its SHA-256 is enough to know it again, since it has 256 random bits (a slow hash protects
 * secrets that people choose). Times are wall-clock ms since 1970.
 */
import type { DeviceLevel } from '../../mesh/protocol/index.ts'
import type { Priority } from './events.ts'

/**
 * What a route is for. `inference`: answers and work, and one's own tasks · `mesh`: what the mesh is and does · `admin`:
 * all of it, and everything that changes it · `bridge`: reports of devices and calls to them, and inference in the name of
 * a device.
 */
export const ROUTE_CLASSES = ['inference', 'mesh', 'admin', 'bridge'] as const
export type RouteClass = (typeof ROUTE_CLASSES)[number]

/** What a key may do. An absent limit is none. */
export interface KeyGrant {
  readonly routes: readonly RouteClass[]
  /** Names, aliases or digests of models; `*` stands for any characters. */
  readonly models: readonly string[]
  /** The most urgent class that it may ask for. */
  readonly priority: Exclude<Priority, 'system'>
  /** Nothing that it asks leaves the owner's devices, whatever the request says. */
  readonly localOnly: boolean
  /** None of its answers is kept, and it is given none that was. */
  readonly noCache?: boolean
  /** What it may do with devices; nothing when absent. */
  readonly devices?: DeviceLevel
  readonly requestsPerMinute?: number
  /** Tokens of prompts and answers. */
  readonly tokensPerMinute?: number
  /** The same, in a day of UTC. */
  readonly tokensPerDay?: number
}

/** One secret of a key: it has several while it is being rotated. */
export interface KeySecret {
  /** SHA-256 of the secret, in hexadecimal. */
  readonly digest: string
  /** Its last four characters, for people. */
  readonly hint: string
  /** The key's own end when absent. */
  readonly expiresAtMs?: number
}

export type AccessEvent =
  | {
      readonly type: 'key.made'
      readonly atMs: number
      readonly id: string
      readonly name: string
      readonly grant: KeyGrant
      readonly secret: KeySecret
      readonly expiresAtMs?: number
    }
  /** It has a new secret; the earlier ones end at `graceUntilMs`. */
  | {
      readonly type: 'key.rotated'
      readonly atMs: number
      readonly id: string
      readonly secret: KeySecret
      readonly graceUntilMs: number
    }
  | { readonly type: 'key.revoked'; readonly atMs: number; readonly id: string }

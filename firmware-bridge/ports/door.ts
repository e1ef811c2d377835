/** Doors: how bytes of devices come in and go out. What they mean, sessions know. */
import type { MessageKind } from '../messages/index.ts'
import type { BridgePart, ReplyTo } from './index.ts'

/** Whom a message is from, as far as the door can tell: a broker's credentials, a chip that claims, or a serial port. */
export type Origin =
  | { readonly of: 'device'; readonly device: string }
  | { readonly of: 'chip'; readonly chip: string }
  /** `port` is the same whenever the board is plugged in; `path` is where it is now. */
  | { readonly of: 'port'; readonly port: string; readonly path: string }

export type Incoming =
  /** `kind` is the last level of a topic, or the type byte of a frame. */
  | {
      readonly of: 'message'
      readonly wire: 'mqtt' | 'frames'
      readonly kind: string | number
      readonly body: Uint8Array
      readonly replyTo?: ReplyTo
      /** It is the broker's copy of something said earlier. */
      readonly isRetained?: boolean
    }
  /** A plain value that any MQTT library publishes. */
  | { readonly of: 'value'; readonly capability: string; readonly body: Uint8Array; readonly isRetained?: boolean }
  | { readonly of: 'line'; readonly text: string }
  /** The link is closed. */
  | { readonly of: 'closed' }

export type Outgoing =
  | { readonly of: 'message'; readonly kind: MessageKind; readonly body: Uint8Array; readonly replyTo?: ReplyTo }
  /** Whole lines of text, with their ends. */
  | { readonly of: 'lines'; readonly text: string }

/** Called in the order in which things came. Must not throw. */
export interface DoorListener {
  onIncoming(door: Door, origin: Origin, incoming: Incoming): void
  /** It has a connection, or has one no more. */
  onUp(door: Door, isUp: boolean): void
}

export interface Door extends BridgePart {
  readonly isUp: boolean
  listen(listener: DoorListener): void
  /** False when there is no link to the device now, or what waits for it already is too much. */
  send(origin: Origin, outgoing: Outgoing): boolean
  /** Ends the link of a device, where the door holds one. */
  cut(origin: Origin): void
}

/** A broker that others read along: for what the bridge tells the rest of the house. */
export interface Announcer {
  readonly isUp: boolean
  publish(topic: string, payload: string, isRetained: boolean): void
  /** Messages of `filter`; also after a new connection. */
  subscribe(filter: string, listener: (topic: string, payload: string) => void): void
  /** Called after each connection. */
  onConnect(listener: () => void): void
}

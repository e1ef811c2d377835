/** A bridge's sessions with everything around them played: a door, a clock that stands, a store in memory. */
import { onTestFinished } from 'vitest'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import type { BridgeCall } from '../../../mesh/protocol/index.ts'
import { Counts } from '../../../firmware-bridge/counts.ts'
import { manage, Register } from '../../../firmware-bridge/joining/index.ts'
import {
  decodeMessage,
  encodeMessage,
  typeOf,
  type DownMessage,
  type Format,
  type Hello,
  type Message,
} from '../../../firmware-bridge/messages/index.ts'
import type { Door, DoorListener, Origin, Outgoing } from '../../../firmware-bridge/ports/index.ts'
import { Sessions } from '../../../firmware-bridge/sessions/index.ts'
import { MemoryDeviceStore } from '../../../firmware-bridge/store/index.ts'

export class PlayedDoor implements Door {
  readonly name: string
  readonly sent: { readonly origin: Origin; readonly outgoing: Outgoing }[] = []
  readonly cuts: Origin[] = []
  isUp = true
  /** Whether what is sent reaches anybody. */
  hasLink = true
  listener: DoorListener | undefined

  constructor(name = 'played') {
    this.name = name
  }

  listen(listener: DoorListener): void {
    this.listener = listener
  }
  start(): Promise<void> {
    return Promise.resolve()
  }
  stop(): Promise<void> {
    return Promise.resolve()
  }
  send(origin: Origin, outgoing: Outgoing): boolean {
    if (this.hasLink) this.sent.push({ origin, outgoing })
    return this.hasLink
  }
  cut(origin: Origin): void {
    this.cuts.push(origin)
  }
}

export interface House {
  readonly clock: ManualClock
  readonly store: MemoryDeviceStore
  readonly register: Register
  readonly sessions: Sessions
  readonly door: PlayedDoor
  readonly counts: Counts
  /** What the device says over MQTT. */
  say(device: string, message: Message, format?: Format): Promise<void>
  /** What was sent to it since the last call, decoded. */
  heard(device: string): DownMessage[]
  settle(): Promise<void>
}

export const helloOf = (rest: Partial<Hello> = {}): Hello => ({
  kind: 'hello',
  v: 1,
  fw: '1.0',
  rx: 256,
  win: 1,
  boot: 7,
  n: 2,
  fmt: 'json',
  caps: ['rf:temp:C', 'wb:vent'],
  ...rest,
})

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export const callFor = (house: House, n: number, rest: Partial<BridgeCall> = {}): BridgeCall => ({
  call: uuid(n),
  device: 'a',
  capability: 'vent',
  op: 'write',
  value: true,
  expiresAtMs: house.clock.wallMs() + 10_000,
  ...rest,
})

export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 60; turn++) await Promise.resolve()
}

/** A bridge with the devices `names`, `a` unless told otherwise. */
export async function house(names: readonly string[] = ['a'], isSerialTrusted = false): Promise<House> {
  const clock = new ManualClock()
  const random = new SeededRandom(1)
  const store = new MemoryDeviceStore()
  const counts = new Counts()
  const log = silentLogger
  const register = await Register.open({ clock, random, log, tally: counts, store }, { isSerialTrusted })
  for (const name of names) await register.add(name)
  const sessions = new Sessions({
    ...{ clock, random, log, tally: counts, store, register },
    manage: (call) => manage({ register, random, brokerAddress: () => ({ host: 'pi', port: 1883 }) }, call),
  })
  await sessions.start()
  onTestFinished(() => sessions.stop())
  const door = new PlayedDoor()
  door.listen(sessions)
  const decode = (outgoing: Outgoing): DownMessage => {
    if (outgoing.of === 'lines') throw new TypeError('lines were sent')
    const format = outgoing.body[0] === 0x7b ? 'json' : 'cbor'
    const decoded = decodeMessage(outgoing.kind, outgoing.body, format, 'down')
    if (!decoded.ok) throw new TypeError(decoded.refusal.why)
    return decoded.value
  }
  return {
    ...{ clock, store, register, sessions, door, counts },
    say: async (device, message, format = 'json') => {
      sessions.onIncoming(
        door,
        { of: 'device', device },
        { of: 'message', wire: 'mqtt', kind: message.kind, body: encodeMessage(message, format) },
      )
      await settled()
    },
    heard: (device) =>
      door.sent
        .splice(0)
        .filter(({ origin }) => origin.of === 'device' && origin.device === device)
        .map(({ outgoing }) => decode(outgoing)),
    settle: settled,
  }
}

/** With device `a` welcomed. */
export async function joined(rest: Partial<Hello> = {}): Promise<House> {
  const made = await house()
  await made.say('a', helloOf(rest))
  made.heard('a')
  return made
}

/** The frame of a serial board. */
export const framed = (message: Message) => ({
  of: 'message' as const,
  wire: 'frames' as const,
  kind: typeOf(message.kind),
  body: encodeMessage(message, 'cbor'),
})

/**
 * Boards at serial ports. Ports are looked for every `serialScanMs`, since systems tell of hot-plugging in as many ways as
 * there are systems; each board is known by its USB adapter's numbers, wherever it is plugged in.
 */
import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { SerialPort } from 'serialport'
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { Door, DoorListener, Origin, Outgoing, Tally } from '../ports/index.ts'
import { SerialLine } from './serial-line.ts'

export interface PortInfo {
  readonly path: string
  readonly vendorId?: string | undefined
  readonly productId?: string | undefined
  readonly serialNumber?: string | undefined
  readonly locationId?: string | undefined
}

/** The machine's serial ports. */
export interface SerialPorts {
  list(): Promise<PortInfo[]>
  /** Settles when it is open. */
  open(path: string, baud: number): Promise<Duplex>
}

export interface SerialDoorComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly tally: Tally
  readonly ports: SerialPorts
  /** For boards that speak MQTT over their line. */
  readonly attachMqtt: (stream: Duplex, at: { readonly port: string; readonly path: string }) => void
}

export interface SerialDoorInit {
  /** `auto`: every port with a USB adapter. */
  readonly paths: 'auto' | readonly string[]
  readonly baud: number
}

interface Open {
  readonly path: string
  readonly line: SerialLine
}

export class SerialDoor implements Door {
  readonly name = 'serial'
  readonly #components: SerialDoorComponents
  readonly #init: SerialDoorInit
  /** By identity of the port. */
  readonly #open = new Map<string, Open>()
  /** Paths that could not be opened, and when they may be tried again. */
  readonly #failed = new Map<string, { readonly failures: number; readonly atMs: number }>()
  #listener: DoorListener | undefined
  #timer: CancelTimer | undefined
  #isStopped = false
  #hasWarned = false

  constructor(components: SerialDoorComponents, init: SerialDoorInit) {
    this.#components = { ...components, log: components.log.scope('serial') }
    this.#init = init
  }

  get isUp(): boolean {
    return this.#open.size > 0
  }

  listen(listener: DoorListener): void {
    this.#listener = listener
  }

  async start(): Promise<void> {
    await this.#scan()
  }

  stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.()
    for (const { line } of [...this.#open.values()]) line.close()
    return Promise.resolve()
  }

  /** A board that is no port of this machine, such as a simulated one. */
  attach(stream: Duplex, at: { readonly port: string; readonly path: string }): void {
    const { port, path } = at
    this.#open.get(port)?.line.close()
    const origin: Origin = { of: 'port', port, path }
    const line = new SerialLine(stream, {
      tally: this.#components.tally,
      onIncoming: (incoming) => this.#listener?.onIncoming(this, origin, incoming),
      onMqtt: (mqtt) => this.#components.attachMqtt(mqtt, { port, path }),
      onClosed: () => {
        if (this.#open.get(port)?.line !== line) return
        this.#open.delete(port)
        this.#components.log.info({ path }, 'a serial line is closed')
        this.#listener?.onIncoming(this, origin, { of: 'closed' })
      },
    })
    this.#open.set(port, { path, line })
    this.#listener?.onUp(this, true)
  }

  send(origin: Origin, outgoing: Outgoing): boolean {
    return origin.of === 'port' && (this.#open.get(origin.port)?.line.send(outgoing) ?? false)
  }

  /** It stays open: what comes from it is refused until its owner approves it again. */
  cut(): void {}

  async #scan(): Promise<void> {
    const { clock } = this.#components
    for (const info of this.#wanted(await this.#list())) await this.#try(info)
    if (!this.#isStopped) this.#timer = clock.timer(LIMITS.serialScanMs, () => void this.#scan())
  }

  /** Where the system does not say what ports there are, those that were named are still there. */
  async #list(): Promise<readonly PortInfo[]> {
    const { log, ports } = this.#components
    if (this.#init.paths.length === 0) return []
    try {
      return await ports.list()
    } catch (error) {
      if (!this.#hasWarned) log.warn({ err: error }, 'the serial ports cannot be listed; name them (--serial PATH)')
      this.#hasWarned = true
      return []
    }
  }

  #wanted(found: readonly PortInfo[]): readonly PortInfo[] {
    const { paths } = this.#init
    if (paths === 'auto') return found.filter(({ vendorId }) => vendorId !== undefined)
    // a path that is not listed (a link, a pseudo-terminal) is as good as its name
    return paths.map((path) => found.find((info) => info.path === path) ?? { path })
  }

  async #try(info: PortInfo): Promise<void> {
    const { clock, log, ports, tally } = this.#components
    const { path } = info
    const port = identityOf(info)
    const failed = this.#failed.get(path)
    if (this.#isStopped || this.#open.has(port) || (failed && failed.atMs > clock.nowMs())) return
    if (this.#open.size >= LIMITS.serialPortsMax) return tally.count('serial_ports')
    try {
      const stream = await ports.open(path, this.#init.baud)
      if (this.#isStopped) return void stream.destroy()
      this.#failed.delete(path)
      log.info({ path, port }, 'a serial port is open')
      this.attach(stream, { port, path })
    } catch (error) {
      const failures = (failed?.failures ?? 0) + 1
      if (failures === 1) log.warn({ err: error, path }, 'a serial port cannot be opened')
      const waitMs = Math.min(LIMITS.bridgeReconnectMs, LIMITS.serialScanMs * 2 ** Math.min(failures - 1, 8))
      // paths come and go with the boards; what is remembered of them is bounded
      if (this.#failed.size >= LIMITS.serialPortsMax) this.#failed.clear()
      this.#failed.set(path, { failures, atMs: clock.nowMs() + waitMs })
    }
  }
}

/** The numbers of its adapter; where that has none of its own, the place at which it is plugged in. */
export function identityOf({ path, vendorId, productId, serialNumber, locationId }: PortInfo): string {
  const own = vendorId === undefined ? path : `${vendorId}:${productId}:${serialNumber ?? locationId ?? path}`
  return `usb-${createHash('sha256').update(own).digest('hex').slice(0, 16)}`
}

/** Those of this machine. */
export const systemSerialPorts: SerialPorts = {
  list: () => SerialPort.list(),
  open: (path, baudRate) =>
    new Promise((resolve, reject) => {
      const port = new SerialPort({ path, baudRate, autoOpen: false, endOnClose: true })
      port.open((error) => (error === null ? resolve(port) : reject(error)))
    }),
}

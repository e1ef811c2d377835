/**
 * One serial line, whatever is at its other end: an open port, or a simulated board. The board speaks first, and by that
 * tells its dialect: most boards begin anew when a port is opened, and would lose what they were sent meanwhile.
 */
import type { Duplex } from 'node:stream'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { DialectDetector, encodeFrame, FrameDecoder, LineDecoder, type SerialDialect } from '../link/index.ts'
import { typeOf } from '../messages/index.ts'
import type { Incoming, Outgoing, Tally } from '../ports/index.ts'

export interface SerialLineInit {
  readonly onIncoming: (incoming: Incoming) => void
  /** The board speaks MQTT: the stream, with all that came still in it, is the broker's from here on. */
  readonly onMqtt: (stream: Duplex) => void
  readonly onClosed: () => void
  readonly tally: Tally
}

export class SerialLine {
  readonly #stream: Duplex
  readonly #init: SerialLineInit
  readonly #detector = new DialectDetector()
  readonly #frames = new FrameDecoder(LIMITS.deviceFrameBytesMax)
  readonly #lines = new LineDecoder(LIMITS.deviceLineBytesMax)
  readonly #onData = (bytes: Uint8Array): void => this.#take(bytes)
  #dialect: SerialDialect | undefined
  #seq = 0
  #counted = 0
  #isClosed = false

  constructor(stream: Duplex, init: SerialLineInit) {
    this.#stream = stream
    this.#init = init
    stream.on('data', this.#onData)
    stream.on('error', () => this.#close())
    stream.on('close', () => this.#close())
    stream.on('end', () => this.#close())
  }

  get dialect(): SerialDialect | undefined {
    return this.#dialect
  }

  /** False when it does not fit the dialect, or too much waits already. */
  send(outgoing: Outgoing): boolean {
    const bytes = this.#bytesOf(outgoing)
    if (bytes === undefined || this.#isClosed) return false
    if (this.#stream.writableLength > LIMITS.deviceSendBytesMax) {
      this.#init.tally.count('link_full')
      return false
    }
    this.#stream.write(bytes)
    return true
  }

  close(): void {
    this.#stream.destroy()
    this.#close()
  }

  #bytesOf(outgoing: Outgoing): Uint8Array | undefined {
    if (outgoing.of === 'lines') return this.#dialect === 'lines' ? new TextEncoder().encode(outgoing.text) : undefined
    if (this.#dialect !== 'frames') return undefined
    return encodeFrame({ type: typeOf(outgoing.kind), seq: this.#seq++ & 0xff, payload: outgoing.body })
  }

  #take(bytes: Uint8Array): void {
    if (this.#dialect === undefined) return this.#detect(bytes)
    if (this.#dialect === 'frames') {
      for (const { type, payload } of this.#frames.push(bytes))
        this.#init.onIncoming({ of: 'message', wire: 'frames', kind: type, body: payload })
    } else for (const text of this.#lines.push(bytes)) this.#init.onIncoming({ of: 'line', text })
    this.#count()
  }

  #detect(bytes: Uint8Array): void {
    const found = this.#detector.push(bytes)
    if (found === undefined) return
    this.#dialect = found.dialect
    if (found.dialect !== 'mqtt') return this.#take(found.pending)
    this.#stream.off('data', this.#onData)
    this.#stream.pause()
    this.#stream.unshift(found.pending)
    this.#init.onMqtt(this.#stream)
  }

  /** What noise broke, as it grows. */
  #count(): void {
    const { bad, overruns } = this.#frames.counts
    const broken = bad + overruns + this.#lines.overruns
    if (broken > this.#counted) this.#init.tally.count('line_noise', broken - this.#counted)
    this.#counted = broken
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#init.onClosed()
  }
}

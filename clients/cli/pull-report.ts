/** What a pull says while it goes on: a bar on a terminal, a line now and then elsewhere, one JSON event a line. */
import type { Clock } from '../../mesh/runtime/index.ts'
import type { PullEvent } from '../../node/models/store/index.ts'
import { formatBytes, formatDuration, type Output } from './output.ts'

export interface ReportStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

const BAR_MS = 100
const EVENT_MS = 500
/** Without a terminal, a line for each of these steps. */
const LINE_PERCENT = 10
/** The rate is that of this long: it follows the line, and does not jump with each chunk. */
const RATE_MS = 5000
const BAR_COLUMNS = 24
const CLEAR_LINE = '\r\u001b[2K'

interface Sample {
  readonly atMs: number
  readonly bytes: number
}

export class PullReport {
  readonly #output: Output
  readonly #clock: Clock
  readonly #stream: ReportStream
  readonly #reference: string
  readonly #samples: Sample[] = []
  #toldAtMs = Number.NEGATIVE_INFINITY
  #toldPercent = 0
  #hasBar = false
  #doneBytes = 0
  #sizeBytes = 0
  #isWaiting = false

  constructor(reference: string, output: Output, clock: Clock, stream: ReportStream = process.stderr) {
    this.#reference = reference
    this.#output = output
    this.#clock = clock
    this.#stream = stream
  }

  /** `1.2 GiB of 4.7 GiB`; `undefined` when nothing has come. */
  get kept(): string | undefined {
    return this.#doneBytes > 0 ? `${formatBytes(this.#doneBytes)} of ${formatBytes(this.#sizeBytes)}` : undefined
  }

  /** To be given to a pull as its `onEvent`. */
  readonly tell = (event: PullEvent): void => {
    if (event.event === 'progress' || event.event === 'checking' || event.event === 'waiting') this.#progress(event)
    else {
      this.#event(event.event, event)
      this.#say(textOf(event))
      if (event.event === 'began') {
        this.#doneBytes = event.resumedBytes
        this.#sizeBytes = event.sizeBytes
        this.#samples.splice(0)
      }
    }
  }

  /** Takes the bar away, for what is said next. */
  end(): void {
    if (this.#hasBar) this.#stream.write(CLEAR_LINE)
    this.#hasBar = false
  }

  #progress(event: PullEvent & { readonly doneBytes: number; readonly sizeBytes: number }): void {
    const { doneBytes, sizeBytes } = event
    const atMs = this.#clock.nowMs()
    if (event.event === 'progress') this.#doneBytes = doneBytes
    this.#sizeBytes = sizeBytes
    if (event.event === 'waiting' && !this.#isWaiting) {
      this.#isWaiting = true
      this.#say('another process pulls it; waiting for that one …')
    }
    const isEnd = doneBytes >= sizeBytes
    const isDue = atMs - this.#toldAtMs >= (this.#output.json ? EVENT_MS : BAR_MS)
    if (!isDue && !isEnd) return
    this.#toldAtMs = atMs
    const bytesPerSecond = this.#rate({ atMs, bytes: doneBytes })
    this.#event(event.event, { doneBytes, sizeBytes, bytesPerSecond: Math.round(bytesPerSecond) })
    if (!this.#output.json) this.#draw(event.event, doneBytes, sizeBytes, bytesPerSecond)
  }

  #rate(sample: Sample): number {
    this.#samples.push(sample)
    while (this.#samples.length > 2 && sample.atMs - this.#samples[1]!.atMs >= RATE_MS) this.#samples.shift()
    const first = this.#samples[0]!
    const ms = sample.atMs - first.atMs
    return ms > 0 ? Math.max(0, ((sample.bytes - first.bytes) / ms) * 1000) : 0
  }

  #draw(what: string, doneBytes: number, sizeBytes: number, bytesPerSecond: number): void {
    const share = Math.min(1, doneBytes / sizeBytes)
    const percent = Math.floor(share * 100)
    const amount = `${String(percent).padStart(3)} %  ${formatBytes(doneBytes)} of ${formatBytes(sizeBytes)}`
    const left = bytesPerSecond > 0 ? ((sizeBytes - doneBytes) / bytesPerSecond) * 1000 : undefined
    const pace =
      left === undefined || doneBytes >= sizeBytes
        ? ''
        : `  ${formatBytes(bytesPerSecond)}/s  ${formatDuration(left)} left`
    const verb = what === 'checking' ? 'checking  ' : ''
    if (this.#stream.isTTY !== true) {
      if (percent - this.#toldPercent < LINE_PERCENT) return
      this.#toldPercent = percent - (percent % LINE_PERCENT)
      return this.#output.note(`${verb}${amount}${pace}`)
    }
    const filled = Math.round(share * BAR_COLUMNS)
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_COLUMNS - filled)
    const line = `${bar} ${verb}${amount}${pace}`
    // a line that wraps could not be taken away again
    this.#stream.write(`${CLEAR_LINE}${line.slice(0, Math.max(20, (this.#stream.columns ?? 80) - 1))}`)
    this.#hasBar = true
  }

  #say(text: string | undefined): void {
    if (text === undefined) return
    this.end()
    this.#output.note(text)
  }

  #event(state: string, details: object): void {
    if (this.#output.json) this.#output.value({ ...details, event: 'pull', state, reference: this.#reference })
  }
}

function textOf(event: Exclude<PullEvent, { event: 'progress' | 'checking' | 'waiting' }>): string | undefined {
  switch (event.event) {
    case 'located':
      return `${event.file}, ${formatBytes(event.sizeBytes)}, from ${event.members?.join(', ') ?? event.source}`
    case 'began':
      return event.resumedBytes > 0 ? `going on at ${formatBytes(event.resumedBytes)}` : undefined
    case 'retrying':
      return `${event.reason}; asking again in ${formatDuration(event.delayMs)}`
    case 'restarting':
      return `${event.reason}; starting again`
    case 'dropped':
      return `${event.member} gives nothing more: ${event.reason}`
    case 'shares':
      return event.shares.map(({ member, bytes }) => `${formatBytes(bytes)} from ${member}`).join(', ')
  }
}

/** What this process takes of its machine, and how late its event loop is. A port, so that tests have figures of their own. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

export interface ProcessUsage {
  /** CPU time since the start of the process, in seconds. */
  readonly cpu: { readonly user: number; readonly system: number }
  /** In bytes. `resident` is what the system counts; the heap and what is outside of it are parts of that. */
  readonly memory: { readonly resident: number; readonly heap: number; readonly external: number }
  /** How much later than asked for timers fired since the last reading, in seconds. */
  readonly loopDelay: { readonly median: number; readonly p99: number; readonly max: number }
}

export interface ProcessMeter {
  /** What was taken up to now; the event loop's delay begins anew. */
  read(): ProcessUsage
  stop(): void
}

/** The monitor's timer fires this often, in ms, and what it measures is from one firing to the next. */
const RESOLUTION_MS = 20
const NANOSECONDS = 1e-9
const MICROSECONDS = 1e-6

export class SystemProcessMeter implements ProcessMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  constructor() {
    this.#delay.enable()
  }

  read(): ProcessUsage {
    const { user, system } = process.cpuUsage()
    const { rss, heapUsed, external } = process.memoryUsage()
    const loopDelay = {
      median: lateness(this.#delay.percentile(50)),
      p99: lateness(this.#delay.percentile(99)),
      max: lateness(this.#delay.max),
    }
    this.#delay.reset()
    return {
      cpu: { user: user * MICROSECONDS, system: system * MICROSECONDS },
      memory: { resident: rss, heap: heapUsed, external },
      loopDelay,
    }
  }

  stop(): void {
    this.#delay.disable()
  }
}

/** Seconds beyond the interval that was asked for; 0 before the first firing. */
const lateness = (nanoseconds: number): number => Math.max(0, nanoseconds * NANOSECONDS - RESOLUTION_MS / 1000)

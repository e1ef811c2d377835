/**
 * How a server somewhere else is asked: over the internet, for money, by keys that may be refused or used up, beside other
 * people. What one request finds out holds for the next ones, so that one `Endpoint` stands for the server in all clients.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../../mesh/runtime/index.ts'

/** A key that was refused may be let in again; meanwhile others are used. */
const REFUSED_MS = 600_000
/** A key that has used up what it may, where the server does not say until when. */
const USED_UP_MS = 60_000
/** A server that has too much to do, where it does not say for how long. */
const BUSY_MS = 2000
/** Requests for one answer, the first one included, and the time within which the last one may begin. */
const TRIES_MAX = 4
const TRY_MS_MAX = 10_000
/** Full jitter: a wait of any length up to this, doubled from the first up to the last. */
const BACKOFF_MS_FIRST = 250
const BACKOFF_MS_MAX = 4000
/** Of a wait that the server asks for, so that those who heard the same do not come back together. */
const SPREAD = 0.25
/** What a server says beyond this is not believed. */
const RETRY_AFTER_MS_MAX = 24 * 3_600_000

/** Answers that may be others within seconds; those of servers that are overloaded (529 is Anthropic's). */
const PASSING: ReadonlySet<number> = new Set([408, 500, 502, 503, 504, 529])
const BUSY: ReadonlySet<number> = new Set([429, 503, 529])
const USED_UP = /quota|billing|credit|payment|balance/i

export interface EndpointComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface EndpointInit {
  /** Used in this order, as long as each is good. */
  readonly keys: readonly string[]
}

/** An answer that is no answer. */
export interface Refused {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** What it says of the error, of whatever form. */
  readonly said: string
}

export class Endpoint {
  readonly #components: EndpointComponents
  readonly #keys: { readonly text: string; asideUntilMs: number }[]
  #restsUntilMs = Number.NEGATIVE_INFINITY

  constructor(components: EndpointComponents, { keys }: EndpointInit) {
    this.#components = components
    this.#keys = keys.map((text) => ({ text, asideUntilMs: Number.NEGATIVE_INFINITY }))
  }

  /** How long the server is still to be left alone, in ms; 0 when it may be asked. */
  get restMs(): number {
    return Math.max(0, this.#restsUntilMs - this.#components.clock.nowMs())
  }

  /** The first key that is good; of those that are set aside the one whose time is over first. */
  get key(): string | undefined {
    const nowMs = this.#components.clock.nowMs()
    const good = this.#keys.find(({ asideUntilMs }) => asideUntilMs <= nowMs)
    return (good ?? this.#keys.toSorted((a, b) => a.asideUntilMs - b.asideUntilMs)[0])?.text
  }

  /** Nothing is asked of the server for so long. */
  rest(ms: number): void {
    this.#restsUntilMs = Math.max(this.#restsUntilMs, this.#components.clock.nowMs() + ms)
  }

  /** Sets a key aside. True when there is another good one. */
  setAside(key: string | undefined, ms: number): boolean {
    const nowMs = this.#components.clock.nowMs()
    const known = this.#keys.find(({ text }) => text === key)
    if (known !== undefined) known.asideUntilMs = nowMs + ms
    return this.#keys.some(({ asideUntilMs }) => asideUntilMs <= nowMs)
  }

  /** The tries of one answer. */
  tries(): Tries {
    return new Tries(this.#components, this)
  }
}

/** Decides after each request that brought nothing whether another one is made, and when. */
export class Tries {
  readonly #components: EndpointComponents
  readonly #endpoint: Endpoint
  readonly #beganMs: number
  #made = 0

  constructor(components: EndpointComponents, endpoint: Endpoint) {
    this.#components = components
    this.#endpoint = endpoint
    this.#beganMs = components.clock.nowMs()
  }

  /** @throws SkeinError NO_FREE_SLOT while the server is to be left alone. */
  assertOpen(url: string): void {
    const { restMs } = this.#endpoint
    if (restMs === 0) return
    const retryAfterSeconds = Math.ceil(restMs / 1000)
    throw new SkeinError('NO_FREE_SLOT', `${url} wants to be left alone for ${retryAfterSeconds} s more`, {
      retryAfterSeconds,
    })
  }

  /**
   * Ms until it may be asked again; `undefined` when it is to be left at that.
   *
   * @param key that the request bore.
   */
  afterRefusal({ status, headers, said }: Refused, key: string | undefined): number | undefined {
    this.#made++
    if (status === 401 || status === 403) return this.#withOther(key, REFUSED_MS)
    const askedMs = retryAfterMs(headers, this.#components.clock.wallMs())
    if (status === 402 || (status === 429 && USED_UP.test(said))) {
      const ms = this.#withOther(key, askedMs ?? USED_UP_MS)
      if (ms === undefined) this.#endpoint.rest(askedMs ?? USED_UP_MS)
      return ms
    }
    if (status !== 429 && !PASSING.has(status)) return undefined
    const waitMs = this.#fitting(askedMs === undefined ? this.#backoffMs() : askedMs * (1 + this.#share() * SPREAD))
    if (waitMs === undefined && BUSY.has(status)) this.#endpoint.rest(askedMs ?? BUSY_MS)
    return waitMs
  }

  /** As `afterRefusal`, where the connection broke, or was not made, before the server said anything. */
  afterBreak(): number | undefined {
    this.#made++
    return this.#fitting(this.#backoffMs())
  }

  #withOther(key: string | undefined, asideMs: number): number | undefined {
    return this.#endpoint.setAside(key, asideMs) ? this.#fitting(0) : undefined
  }

  #fitting(waitMs: number): number | undefined {
    const elapsedMs = this.#components.clock.nowMs() - this.#beganMs
    return this.#made < TRIES_MAX && elapsedMs + waitMs <= TRY_MS_MAX ? waitMs : undefined
  }

  #backoffMs(): number {
    return this.#share() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** (this.#made - 1))
  }

  #share(): number {
    return this.#components.random.next()
  }
}

/**
 * What a server asks for with `Retry-After`, in ms; `undefined` when it does not. A date counts from the server's own, so that
 * clocks which differ change nothing.
 */
export function retryAfterMs(headers: IncomingHttpHeaders, wallMs: number): number | undefined {
  const exact = headers['retry-after-ms']
  if (typeof exact === 'string' && /^\d{1,9}(?:\.\d+)?$/.test(exact)) return bounded(Number(exact))
  const told = headers['retry-after']
  if (told === undefined) return undefined
  if (/^\d{1,9}(?:\.\d+)?$/.test(told)) return bounded(Number(told) * 1000)
  // what else JavaScript takes for a date is none here
  const thenMs = /^[A-Z][a-z]{2}, /.test(told) ? Date.parse(told) : Number.NaN
  const sentMs = Date.parse(headers.date ?? '')
  if (Number.isNaN(thenMs)) return undefined
  return bounded(thenMs - (Number.isNaN(sentMs) ? wallMs : sentMs))
}

const bounded = (ms: number): number => Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX)

/** A date behind the name of a model, by which some servers tell which edition of it answered. */
const EDITION = /^-(?:\d{8}|\d{4}-\d{2}-\d{2}|\d{4})$/

/**
 * Whether an event of an answer names the model that was asked. One that names none is believed.
 *
 * @throws SkeinError ENGINE_FAILED when it names another one.
 */
export function assertAnsweredBy(event: unknown, asked: string): void {
  const { model } = (typeof event === 'object' && event !== null ? event : {}) as { model?: unknown }
  if (typeof model !== 'string' || model === '' || model === asked) return
  if (model.startsWith(asked) && EDITION.test(model.slice(asked.length))) return
  const said = model.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 128)
  throw new SkeinError('ENGINE_FAILED', `the server answered with the model ${said}, and ${asked} was asked`)
}

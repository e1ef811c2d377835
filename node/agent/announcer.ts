/**
 * Keeps the capability record true: issues a new one whenever what it says changed and at a third of its validity, and
 * puts it and the node's provider keys into the DHT. The control streams do not wait for the DHT: what it takes to
 * publish is its own affair.
 */
import { asSkeinError, capabilityClasses, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type CancelTimer, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import { discoveryKey, encodeSigned, type Discovery } from '../../mesh/network/index.ts'
import type { CapabilityContent, IssuedRecord, RecordIssuer } from '../capability/index.ts'

const RENEWAL_MS = LIMITS.capabilityValidityMs / 3
/** A put into a DHT of some hops; a failed one is tried again after a while. */
const PUBLISH_MS = 10_000
const PUBLISH_AGAIN_MS = 3000

export interface AnnouncerComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly issuer: RecordIssuer
  readonly discovery: Discovery
  readonly content: () => CapabilityContent
  /** A new record holds from now on. */
  readonly onRecord: (issued: IssuedRecord) => void
}

export class Announcer {
  readonly #components: AnnouncerComponents
  readonly #log: Logger
  readonly #stopping = new AbortController()
  #isDirty = false
  #isIssuing = false
  #cancelRenewal: CancelTimer = () => {}
  #newest: IssuedRecord | undefined
  #advertised = ''
  #isPublishing = false
  #isUnpublished = false

  constructor(components: AnnouncerComponents) {
    this.#components = components
    this.#log = components.log.scope('announcer')
  }

  /** The record that holds now. */
  get newest(): IssuedRecord | undefined {
    return this.#newest
  }

  /** Whether that says all that there is to say. */
  get isCurrent(): boolean {
    return this.#newest !== undefined && !this.#isDirty && !this.#isIssuing
  }

  /**
   * The record that holds now, for one who is to be shown it. What the clock says is over or yet to come was made under
   * another clock, before it was set: who is shown it may refuse it, and a new one is on its way.
   */
  shown(): IssuedRecord | undefined {
    const { record } = this.#newest ?? {}
    if (record) {
      const ageMs = this.#components.clock.wallMs() - record.issuedAtMs
      if (ageMs < 0 || ageMs > LIMITS.capabilityValidityMs) this.changed()
    }
    return this.#newest
  }

  /** Issues the first record. @throws SkeinError when it cannot be issued at all. */
  async start(): Promise<void> {
    this.#isIssuing = true
    try {
      await this.#issue()
    } finally {
      this.#isIssuing = false
    }
    // What changed while the first was being signed is in none yet.
    if (this.#isDirty) void this.#reissue()
  }

  /** What the record says changed: a new one is issued at once. Changes that come meanwhile share the next one. */
  changed(): void {
    this.#isDirty = true
    if (!this.#isIssuing && this.#newest) void this.#reissue()
  }

  /** Puts the newest record into the DHT again: there is someone new to hold it. */
  republish(): void {
    this.#isUnpublished = true
    if (!this.#isPublishing) void this.#publish()
  }

  stop(): void {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', 'the node is stopping'))
    this.#cancelRenewal()
  }

  async #reissue(): Promise<void> {
    this.#isIssuing = true
    try {
      while (this.#isDirty && !this.#stopping.signal.aborted) await this.#issue()
    } catch (thrown) {
      this.#log.error({ err: asSkeinError(thrown) }, 'no new capability record; the old one stands until it expires')
    } finally {
      this.#isIssuing = false
    }
  }

  async #issue(): Promise<void> {
    const { clock, issuer, content, discovery, onRecord } = this.#components
    this.#isDirty = false
    this.#cancelRenewal()
    this.#cancelRenewal = clock.timer(RENEWAL_MS, () => this.changed())
    const issued = await issuer.issue(content())
    if (this.#stopping.signal.aborted) return
    this.#newest = issued
    const keys = providerKeys(issued)
    if (keys.join() !== this.#advertised) discovery.advertise(keys)
    this.#advertised = keys.join()
    onRecord(issued)
    this.republish()
  }

  /** One put at a time, always of the newest record. Does not throw. */
  async #publish(): Promise<void> {
    const { clock, discovery } = this.#components
    const { signal } = this.#stopping
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `not published within ${PUBLISH_MS} ms`)
    this.#isPublishing = true
    while (this.#isUnpublished && this.#newest && !signal.aborted) {
      this.#isUnpublished = false
      const bytes = encodeSigned(this.#newest.signed)
      try {
        await withDeadline(clock, PUBLISH_MS, late, signal, (bound) => discovery.publish(bytes, bound))
      } catch (thrown) {
        this.#log.debug({ reason: asSkeinError(thrown).message }, 'the DHT did not take the record yet')
        this.#isUnpublished = true
        await sleep(clock, PUBLISH_AGAIN_MS, signal).catch(() => {})
      }
    }
    this.#isPublishing = false
  }
}

function providerKeys({ record }: IssuedRecord): string[] {
  return [
    discoveryKey.mesh(),
    discoveryKey.role('node'),
    ...record.models.map((model) => discoveryKey.model(model.digest)),
    ...capabilityClasses(record.hardware).map((each) => discoveryKey.capability(each)),
  ]
}

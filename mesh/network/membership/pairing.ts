/**
 * Joining by a short code that a person reads from one screen and types at another machine.
 *
 * The code never travels. Who joins shows a proof made of it, of its own peer id and of the coordinator's, which the
 * encrypted connection has proven; so whoever is shown a proof can use it nowhere else. The coordinator answers with a
 * proof over the certificate: only a mesh whose owner shows this code can give one. A code has 40 bits and each try at one
 * costs a scrypt, which puts guessing from a proof that was overheard out of reach of the minutes that a code lives.
 */
import { createHmac, scrypt, timingSafeEqual } from 'node:crypto'
import { LIMITS, SkeinError, type PeerId, type Signed } from '../../protocol/index.ts'
import type { CancelTimer, Clock, Random } from '../../runtime/index.ts'
import type { MeshAuthority, Subject } from './authority.ts'
import { claimedCertificate } from './certificates.ts'

/** Stands where a `join.request` names an invite. */
export const PAIRING_ID = 'pairing'
/** Without the digits and letters that are taken for each other: 0 and O, 1 and I. */
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'
const CODE_LENGTH = 8
const CODE_PATTERN = new RegExp(`^[${ALPHABET}]{${CODE_LENGTH}}$`)
/** 32 MiB and some 80 ms for each try. */
const STRETCH = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 }
const KEY_BYTES = 32

/** The code in `text` as it is computed with, whatever case and dashes it was typed in; `undefined` when there is none. */
export function pairingCodeOf(text: string): string | undefined {
  if (text.length > 4 * CODE_LENGTH) return undefined
  const code = text.replace(/[\s-]/g, '').toUpperCase()
  return CODE_PATTERN.test(code) ? code : undefined
}

/** In two halves, as people read it. */
export const shownCode = (code: string): string => `${code.slice(0, CODE_LENGTH / 2)}-${code.slice(CODE_LENGTH / 2)}`

/** What both ends compute with: the code bound to who is at either end. */
export interface PairingEnds {
  readonly joiner: PeerId
  readonly authority: PeerId
}

export class PairingKey {
  readonly #key: Buffer

  private constructor(key: Buffer) {
    this.#key = key
  }

  static async of(code: string, { joiner, authority }: PairingEnds): Promise<PairingKey> {
    const salt = `skein pairing 1\0${joiner}\0${authority}`
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    scrypt(code, salt, KEY_BYTES, STRETCH, (error, key) => (error ? reject(error) : resolve(key)))
    return new PairingKey(await promise)
  }

  /** What the joiner shows: 43 characters of base64url. */
  request(): string {
    return this.#proof('join', new Uint8Array())
  }

  /** What the coordinator shows beside the certificate that it grants. */
  grant({ payload, signature }: Signed): string {
    return this.#proof('grant', payload, signature)
  }

  isRequest(shown: string): boolean {
    return isSame(shown, this.request())
  }

  isGrant(shown: string, certificate: Signed): boolean {
    return isSame(shown, this.grant(certificate))
  }

  #proof(what: 'join' | 'grant', ...parts: readonly Uint8Array[]): string {
    const mac = createHmac('sha256', this.#key).update(`${what}\0`)
    for (const part of parts) mac.update(`${part.length}\0`).update(part)
    return mac.digest('base64url')
  }
}

function isSame(shown: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(shown), Buffer.from(wanted)]
  return a.length === b.length && timingSafeEqual(a, b)
}

/** `used`: somebody has joined by it; `spent`: too many wrong codes were shown; `over`: its time is up, or it was taken back. */
export type PairingState = 'open' | 'used' | 'spent' | 'over'

export interface PairingView {
  readonly state: PairingState
  /** In two halves; only of one that is open. */
  readonly code?: string
  /** Wall clock in ms since 1970. */
  readonly expiresAtMs: number
  readonly triesLeft: number
  /** Who joined by it. */
  readonly joined?: { readonly peerId: PeerId; readonly name: string }
}

export interface PairingComponents {
  readonly clock: Clock
  readonly random: Random
  readonly authority: MeshAuthority
  /** Of this coordinator. */
  readonly self: PeerId
  /** Whether a code is open has changed: who asks on the local network is to be told of us, or not any more. */
  readonly onOpen: (isOpen: boolean) => void
}

interface Pairing {
  readonly code: string
  readonly expiresAtMs: number
  readonly cancel: CancelTimer
  state: PairingState
  tries: number
  joined?: NonNullable<PairingView['joined']>
}

/** The codes of one coordinator: one at a time, in memory, each for one machine. */
export class Pairings {
  readonly #components: PairingComponents
  #pairing: Pairing | undefined

  constructor(components: PairingComponents) {
    this.#components = components
  }

  /** Makes a code; one that was open holds no more. */
  open(validMs: number = LIMITS.pairingValidityMs): PairingView {
    const { clock, random } = this.#components
    this.close()
    const code = Array.from(random.bytes(CODE_LENGTH), (byte) => ALPHABET[byte % ALPHABET.length]!).join('')
    const pairing: Pairing = {
      code,
      expiresAtMs: Math.round(clock.wallMs() + validMs),
      cancel: clock.timer(validMs, () => this.#end(pairing, 'over')),
      state: 'open',
      tries: 0,
    }
    this.#pairing = pairing
    this.#components.onOpen(true)
    return viewOf(pairing)
  }

  /** The last code that was made, as it is now. */
  current(): PairingView | undefined {
    return this.#pairing && viewOf(this.#pairing)
  }

  /** Takes an open code back. */
  close(): void {
    if (this.#pairing) this.#end(this.#pairing, 'over')
  }

  /**
   * A certificate for who shows a proof of the open code, and our own proof over it.
   *
   * @throws SkeinError INVITE_INVALID, the same whatever is wrong.
   */
  async redeem(subject: Subject, shown: string): Promise<{ readonly certificate: Signed; readonly proof: string }> {
    const refused = new SkeinError('INVITE_INVALID', 'no such code is open; look at the code again, or make a new one')
    const pairing = this.#pairing
    if (pairing === undefined || !isOpen(pairing) || pairing.tries >= LIMITS.pairingTriesMax) throw refused
    // counted before it is looked at: tries at the same time are tries too
    pairing.tries++
    const { authority, self } = this.#components
    const key = await PairingKey.of(pairing.code, { joiner: subject.peerId, authority: self })
    if (!key.isRequest(shown)) {
      if (pairing.tries >= LIMITS.pairingTriesMax) this.#end(pairing, 'spent')
      throw refused
    }
    if (!isOpen(pairing)) throw refused
    this.#end(pairing, 'used')
    const certificate = await authority.issue(subject)
    // it may have been given another name than it wished
    pairing.joined = { peerId: subject.peerId, name: claimedCertificate(certificate).name }
    return { certificate, proof: key.grant(certificate) }
  }

  #end(pairing: Pairing, state: PairingState): void {
    if (!isOpen(pairing)) return
    pairing.state = state
    pairing.cancel()
    this.#components.onOpen(false)
  }
}

const isOpen = ({ state }: Pairing): boolean => state === 'open'

const viewOf = ({ state, code, expiresAtMs, tries, joined }: Pairing): PairingView => ({
  state,
  ...(state === 'open' && { code: shownCode(code) }),
  expiresAtMs,
  triesLeft: Math.max(0, LIMITS.pairingTriesMax - tries),
  ...(joined && { joined }),
})

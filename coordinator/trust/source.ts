/** Where a gateway's certificate comes from, and when there is a new one. */
import { readFile, stat } from 'node:fs/promises'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { issueLeaf, LEAF_MS, permittedOf, readAuthority, type AuthorityComponents } from './authority.ts'
import { tlsPair, type TlsPair } from './pair.ts'

export interface TlsSource {
  /**
   * What is to be shown now: the same object as before as long as nothing has changed.
   *
   * @throws SkeinError CONFIG_INVALID.
   */
  current(): Promise<TlsPair>
  /** False when whoever looks after it has to be told before it is over. */
  readonly renewsItself: boolean
}

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

/** Two files, which something else renews. */
export class FileTlsSource implements TlsSource {
  readonly renewsItself = false
  readonly #clock: Clock
  readonly #files: CertificateFiles
  #pair: TlsPair | undefined
  #stamp = ''

  constructor(clock: Clock, files: CertificateFiles) {
    this.#clock = clock
    this.#files = files
  }

  async current(): Promise<TlsPair> {
    const { cert, key } = this.#files
    try {
      const stamp = `${await stampOf(cert)} ${await stampOf(key)}`
      if (this.#pair && stamp === this.#stamp) return this.#pair
      const read = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') }
      this.#pair = tlsPair(read, this.#clock.wallMs(), this.#files)
      this.#stamp = stamp
      return this.#pair
    } catch (cause) {
      if (cause instanceof SkeinError) throw cause
      throw new SkeinError('CONFIG_INVALID', `the certificate cannot be read: ${(cause as Error).message}`, { cause })
    }
  }
}

/** Changes whenever a file does. */
async function stampOf(file: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(file)
  return `${ino}:${size}:${mtimeMs}`
}

export interface LocalTlsInit {
  readonly dataDir: string
  /** Names and addresses that the gateway may be reached by; asked each time, since addresses come and go. */
  readonly names: () => readonly string[]
}

/** What the local authority signs, made anew in time and when the machine has other names. */
export class LocalTlsSource implements TlsSource {
  readonly renewsItself = true
  readonly #components: AuthorityComponents
  readonly #init: LocalTlsInit
  #pair: TlsPair | undefined
  #madeFor = ''

  constructor(components: AuthorityComponents, init: LocalTlsInit) {
    this.#components = components
    this.#init = init
  }

  async current(): Promise<TlsPair> {
    const authority = await readAuthority(this.#init.dataDir)
    if (authority === undefined)
      throw new SkeinError('CONFIG_INVALID', 'there is no local authority; make one with: skein trust init')
    const names = permittedOf(authority, this.#init.names())
    const madeFor = JSON.stringify([authority.fingerprint, names])
    const untilMs = this.#pair?.untilMs ?? 0
    const leftMs = untilMs - this.#components.clock.wallMs()
    // what ends with its authority cannot be made any longer
    const isFresh = leftMs > LEAF_MS / 3 || (untilMs === authority.untilMs && leftMs > 0)
    if (this.#pair && madeFor === this.#madeFor && isFresh) return this.#pair
    this.#pair = await issueLeaf(this.#components, authority, names)
    this.#madeFor = madeFor
    return this.#pair
  }
}

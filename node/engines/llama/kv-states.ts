/**
 * KV states of sequences in files: what a conversation has computed is kept when its sequence goes to another one, and
 * taken back when it goes on, where that is faster than prefilling it again (`kv-decision.ts`).
 *
 * - A file holds what people said. Its folder and itself are its owner's alone, and both are deleted with the engine: here
 *   when the model is unloaded, by the parent when this process dies, by this process when the parent dies, and by the next
 *   start when both did.
 * - llama.cpp trusts a state file and may abort over a wrong one. So a file is given to it only when it has the digest that
 *   it had when it was written, which is taken together with all that such a state depends on.
 * - Writing and reading by llama.cpp hold up all sequences of the context. Beside other answers only states are written and
 *   read whose predicted time is below `kvStallMs`. Hashing holds up nobody: it is done by the thread pool, after a save
 *   and before a restore.
 */
import { createHash, randomFillSync, webcrypto } from 'node:crypto'
import { mkdir, open, readFile, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Token } from 'node-llama-cpp'
import { asSkeinError, LIMITS } from '../../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../../mesh/runtime/index.ts'
import type { KvStats } from '../engine.ts'
import { decideRestore, decideSave, LateRate, type KvDecision, type KvRates, type KvReason } from './kv-decision.ts'

/** What llama.cpp writes and reads; a sequence of node-llama-cpp is one. */
export interface StateHolder {
  saveStateToFile(path: string): Promise<{ readonly fileSize: number }>
  loadStateFromFile(path: string, risk: { readonly acceptRisk: true }): Promise<void>
}

export interface KvState {
  readonly path: string
  /** Whose state it has, from the first token of a conversation on. */
  readonly tokens: readonly Token[]
  readonly bytes: number
  /** Of the file as it was written; `undefined` when that could not be read. */
  readonly digest: Promise<string | undefined>
  lastUsed: number
}

export interface KvStatesInit {
  /** Of this engine alone; made here, and deleted by `close`. */
  readonly dir: string
  readonly bytesMax: number
  /** All that a state depends on beside its tokens: model, adapters, engine build, settings of the context. */
  readonly binding: string
  /** What a token's state takes, until the first was written. */
  readonly bytesPerToken: number
}

export interface KvStatesComponents {
  readonly clock: Clock
  readonly log: Logger
}

const PROBE_BYTES = 4 * 1024 * 1024
/** Read and hashed at once. */
const PIECE_BYTES = 4 * 1024 * 1024
/** Of what was measured before, this much counts beside what is new. */
const BYTES_COUNTED = 256 * 1024 * 1024
const TOKENS_COUNTED = 4096
/** In a row; then none are written any more: each may have cost the answers beside it time. */
const FAILURES_MAX = 3
/** As with models: the smaller of these stays free on the disk. */
const FREE_SHARE = 0.1
const FREE_BYTES = 5 * 1024 ** 3

/** Tokens at the start of both, of at most `end`. */
export function commonLength(a: readonly Token[], b: readonly Token[], end = Math.min(a.length, b.length)): number {
  let length = 0
  while (length < end && a[length] === b[length]) length++
  return length
}

export class KvStates {
  readonly #init: KvStatesInit
  readonly #clock: Clock
  readonly #log: Logger
  readonly #states = new Set<KvState>()
  readonly #prefill = new LateRate(TOKENS_COUNTED)
  readonly #write = new LateRate(BYTES_COUNTED)
  readonly #read = new LateRate(BYTES_COUNTED)
  readonly #load = new LateRate(BYTES_COUNTED)
  readonly #decisions: KvStats['decisions'] = { save: {}, restore: {} }
  readonly #checked = new WeakMap<KvState, number>()
  #bytesPerToken: number
  #uses = 0
  #files = 0
  #saved = 0
  #restored = 0
  #refused = 0
  #failures = 0
  #stallMsMax = 0

  private constructor(init: KvStatesInit, { clock, log }: KvStatesComponents) {
    this.#init = init
    this.#bytesPerToken = init.bytesPerToken
    this.#clock = clock
    this.#log = log
  }

  /** Measures the folder. `undefined`, with a line in the log, when it cannot be used; does not throw. */
  static async open(init: KvStatesInit, components: KvStatesComponents): Promise<KvStates | undefined> {
    const states = new KvStates(init, components)
    try {
      await mkdir(init.dir, { recursive: true, mode: 0o700 })
      await states.#probe()
      return states
    } catch (thrown) {
      components.log.warn({ reason: asSkeinError(thrown).message }, 'no KV states are kept in files')
      await states.close()
      return undefined
    }
  }

  get stats(): KvStats {
    const perSecond = (rate: LateRate): number | undefined => rate.perMs && rate.perMs * 1000
    const prefillTokensPerSecond = perSecond(this.#prefill)
    return {
      states: this.#states.size,
      bytes: this.#bytes,
      saved: this.#saved,
      restored: this.#restored,
      refused: this.#refused,
      stallMsMax: this.#stallMsMax,
      bytesPerToken: this.#bytesPerToken,
      writeBytesPerSecond: perSecond(this.#write) ?? 0,
      readBytesPerSecond: perSecond(this.#read) ?? 0,
      ...(prefillTokensPerSecond !== undefined && { prefillTokensPerSecond }),
      decisions: structuredClone(this.#decisions),
    }
  }

  /** A step was measured that prefilled. */
  prefilled(tokens: number, ms: number): void {
    this.#prefill.add(tokens, ms)
  }

  /**
   * Whether the state of `tokens` is to be saved, before all behind the first `kept` is given up.
   *
   * @param isAlone whether no answer beside it would have to wait.
   */
  shouldSave(tokens: readonly Token[], kept: number, isAlone: boolean): boolean {
    const held = tokens.length
    if (this.#failures >= FAILURES_MAX || held === kept) return false
    let covered = kept
    for (const state of this.#states) covered = Math.max(covered, commonLength(state.tokens, tokens))
    const decision = decideSave({
      tokens: held - covered,
      bytes: held * this.#bytesPerToken,
      rates: this.#rates,
      bytesMax: this.#init.bytesMax,
      ...(!isAlone && { stallMsMax: LIMITS.kvStallMs }),
    })
    return this.#isWorth('save', decision)
  }

  /**
   * Writes the state of `tokens`, which `holder` has. Those that were used longest ago make room, but never `spared`, which
   * is about to be taken in. Does not throw.
   */
  async save(holder: StateHolder, tokens: readonly Token[], spared: KvState | undefined): Promise<void> {
    const path = join(this.#init.dir, `${++this.#files}.kv`)
    try {
      if (!(await this.#makeRoom(tokens.length * this.#bytesPerToken, spared))) return this.#count('save', 'room')
      // made here: llama.cpp would make it readable for everybody
      await (await open(path, 'wx', 0o600)).close()
      const beganMs = this.#clock.nowMs()
      const { fileSize } = await holder.saveStateToFile(path)
      const ms = this.#stalled(beganMs)
      this.#write.add(fileSize, ms)
      this.#bytesPerToken = fileSize / tokens.length
      await this.#add({
        path,
        tokens: [...tokens],
        bytes: fileSize,
        digest: this.#digest(path),
        lastUsed: ++this.#uses,
      })
      // for what it has really taken
      await this.#makeRoom(0, spared)
      this.#saved++
      this.#failures = 0
    } catch (thrown) {
      this.#failures++
      this.#log.warn({ reason: asSkeinError(thrown).message }, 'a KV state was not saved')
      await rm(path, { force: true }).catch(() => {})
    }
  }

  /**
   * The state that has most of the beginning of `input`, where taking it in is faster than prefilling what it has beyond the
   * `held` tokens that a sequence has already.
   */
  find(input: readonly Token[], held: number, isAlone: boolean): KvState | undefined {
    let best: { readonly state: KvState; readonly shared: number } | undefined
    for (const state of this.#states) {
      // the last token is always evaluated, to draw from
      const shared = commonLength(state.tokens, input, Math.min(state.tokens.length, input.length - 1))
      if (shared > (best?.shared ?? held)) best = { state, shared }
    }
    if (best === undefined) return undefined
    const { state, shared } = best
    const decision = decideRestore({
      tokens: shared - held,
      bytes: state.bytes,
      rates: this.#rates,
      ...(!isAlone && { stallMsMax: LIMITS.kvStallMs }),
    })
    return this.#isWorth('restore', decision) ? state : undefined
  }

  /** Reads the file: whether it is the one that was written. One that is not is deleted. Does not throw. */
  async check(state: KvState): Promise<boolean> {
    const beganMs = this.#clock.nowMs()
    const was = await state.digest
    const is = await this.#digest(state.path)
    // it made room meanwhile
    if (!this.#states.has(state)) return false
    if (was !== undefined && is === was) {
      this.#checked.set(state, this.#clock.nowMs() - beganMs)
      return true
    }
    this.#refused++
    this.#log.error({ path: state.path }, 'a KV state is not what was written, and is not used')
    await this.#drop(state)
    return false
  }

  /** False when it was deleted since it was found. */
  has(state: KvState): boolean {
    return this.#states.has(state)
  }

  /**
   * Has `holder` take in a state that was checked just now.
   *
   * @throws what the engine throws; the state is then deleted.
   */
  async restore(holder: StateHolder, state: KvState): Promise<void> {
    const beganMs = this.#clock.nowMs()
    try {
      await holder.loadStateFromFile(state.path, { acceptRisk: true })
    } catch (error) {
      this.#refused++
      await this.#drop(state)
      throw error
    }
    const loadMs = this.#stalled(beganMs)
    this.#load.add(state.bytes, loadMs)
    this.#read.add(state.bytes, loadMs + (this.#checked.get(state) ?? 0))
    state.lastUsed = ++this.#uses
    this.#restored++
  }

  /** Deletes all. Does not throw. */
  async close(): Promise<void> {
    this.#states.clear()
    await rm(this.#init.dir, { recursive: true, force: true }).catch((thrown: unknown) =>
      this.#log.warn({ reason: asSkeinError(thrown).message }, 'KV states were not deleted'),
    )
  }

  get #bytes(): number {
    let bytes = 0
    for (const state of this.#states) bytes += state.bytes
    return bytes
  }

  get #rates(): KvRates {
    return {
      prefillTokensPerMs: this.#prefill.perMs,
      writeBytesPerMs: this.#write.perMs,
      readBytesPerMs: this.#read.perMs,
      loadBytesPerMs: this.#load.perMs,
    }
  }

  #isWorth(what: 'save' | 'restore', decision: KvDecision): boolean {
    const { reason } = decision
    this.#count(what, reason)
    if (reason !== 'few') this.#log.debug({ decision }, `whether to ${what} a KV state`)
    return reason === 'pays'
  }

  #count(what: 'save' | 'restore', reason: KvReason): void {
    this.#decisions[what][reason] = (this.#decisions[what][reason] ?? 0) + 1
  }

  #stalled(beganMs: number): number {
    const ms = this.#clock.nowMs() - beganMs
    this.#stallMsMax = Math.max(this.#stallMsMax, ms)
    return ms
  }

  /** Those that it goes on from are superseded. */
  async #add(state: KvState): Promise<void> {
    for (const other of [...this.#states])
      if (commonLength(other.tokens, state.tokens) === other.tokens.length) await this.#drop(other)
    this.#states.add(state)
  }

  /** False when there is none beside `spared`, or when the disk has too little left, whoever filled it. */
  async #makeRoom(bytes: number, spared: KvState | undefined): Promise<boolean> {
    const hasRoom = (): boolean =>
      this.#bytes + bytes <= this.#init.bytesMax && this.#states.size + Math.sign(bytes) <= LIMITS.kvStatesMax
    const byAge = [...this.#states].sort((a, b) => a.lastUsed - b.lastUsed)
    for (const state of byAge) if (!hasRoom() && state !== spared) await this.#drop(state)
    const { bavail, blocks, bsize } = await statfs(this.#init.dir)
    return hasRoom() && bavail * bsize - bytes >= Math.min(FREE_SHARE * blocks * bsize, FREE_BYTES)
  }

  async #drop(state: KvState): Promise<void> {
    this.#states.delete(state)
    await rm(state.path, { force: true }).catch(() => {})
  }

  /** Over the binding and the SHA-256 of each piece. `undefined` when the file cannot be read. */
  async #digest(path: string): Promise<string | undefined> {
    const hash = createHash('sha256').update(this.#init.binding)
    try {
      const file = await open(path, 'r')
      try {
        const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
        for (;;) {
          const { bytesRead } = await file.read(piece, 0, PIECE_BYTES)
          if (bytesRead === 0) return hash.digest('hex')
          hash.update(new Uint8Array(await webcrypto.subtle.digest('SHA-256', piece.subarray(0, bytesRead))))
        }
      } finally {
        await file.close()
      }
    } catch {
      return undefined
    }
  }

  /** What writing and reading cost here, until states were. */
  async #probe(): Promise<void> {
    const path = join(this.#init.dir, 'probe')
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(PROBE_BYTES))
    const file = await open(path, 'wx', 0o600)
    let beganMs = this.#clock.nowMs()
    try {
      await file.write(bytes)
    } finally {
      await file.close()
    }
    this.#write.add(PROBE_BYTES, this.#clock.nowMs() - beganMs)
    beganMs = this.#clock.nowMs()
    await readFile(path)
    this.#load.add(PROBE_BYTES, this.#clock.nowMs() - beganMs)
    await this.#digest(path)
    this.#read.add(PROBE_BYTES, this.#clock.nowMs() - beganMs)
    await rm(path)
  }
}

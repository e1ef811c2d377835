/**
 * The dead-man switch of a rented machine: when no coordinator was heard for long enough, the machine ends itself, since nobody
 * may be left who would end it. What counts is time in which a worker ran and heard nobody; it is kept in a file, so
 * that a worker that is started again and again, or never becomes a member, does not begin anew each time.
 */
import { readFile } from 'node:fs/promises'
import { Type } from 'typebox'
import { asSkeinError, checker, SkeinError } from '../../mesh/protocol/index.ts'
import {
  withDeadline,
  writeFileAtomic,
  type CancelTimer,
  type Clock,
  type Logger,
  type Startable,
} from '../../mesh/runtime/index.ts'
import { runCommand, type RunCommand } from '../capability/index.ts'

export const ALONE_FILE = 'alone.json'
const FILE_LENGTH_MAX = 1024
const LOOK_MS = 5000
/** A start counts as so long: a process that fails at once would else never be alone for long. */
const START_MS = 10_000
/** A command that failed is tried again after this. */
const AGAIN_MS = 60_000
/** A command that does not end has done what it does, or never will. */
const COMMAND_MS = 30_000
/** Two ways to tell when the machine was started differ by less, unless it was started again between them. */
const BOOT_SKEW_MS = 120_000

const isKept = checker(Type.Object({ aloneMs: Type.Number({ minimum: 0 }), bootAtMs: Type.Number({ minimum: 0 }) }))

export interface AloneSwitchComponents {
  readonly clock: Clock
  readonly log: Logger
  /** How long the machine has been running, in ms. */
  readonly uptimeMs: () => number
  /** Ends the machine; rejects when that could not be done. */
  readonly powerOff: () => Promise<void>
}

export interface AloneSwitchInit {
  /** Of the data directory. */
  readonly path: string
  /** Time without any coordinator, in ms. */
  readonly aloneMs: number
}

export class AloneSwitch implements Startable {
  readonly name = 'dead-man switch'
  readonly #components: AloneSwitchComponents
  readonly #init: AloneSwitchInit
  #aloneMs = 0
  #lookedAtMs = 0
  #wasHeard = false
  #isWriting = false
  #hasFired = false
  #cancel: CancelTimer = () => {}

  constructor(components: AloneSwitchComponents, init: AloneSwitchInit) {
    this.#components = components
    this.#init = init
  }

  /** Time without a coordinator so far, in ms. */
  get aloneMs(): number {
    return this.#aloneMs
  }

  async start(): Promise<void> {
    const { clock } = this.#components
    this.#aloneMs = (await this.#kept()) + START_MS
    await this.#keep()
    this.#lookedAtMs = clock.nowMs()
    if (!this.#isOver()) this.#schedule(LOOK_MS)
  }

  stop(): Promise<void> {
    this.#cancel()
    return Promise.resolve()
  }

  /** A coordinator was heard. */
  heard(): void {
    this.#wasHeard = true
  }

  #schedule(ms: number): void {
    this.#cancel()
    this.#cancel = this.#components.clock.timer(ms, () => this.#look())
  }

  #look(): void {
    const nowMs = this.#components.clock.nowMs()
    // time in which this machine stood still is nobody's silence
    const passedMs = Math.min(nowMs - this.#lookedAtMs, 2 * LOOK_MS)
    this.#lookedAtMs = nowMs
    const before = this.#aloneMs
    this.#aloneMs = this.#wasHeard ? 0 : before + passedMs
    this.#wasHeard = false
    if (this.#aloneMs !== before) void this.#keep()
    if (!this.#isOver()) this.#schedule(LOOK_MS)
  }

  /** Ends the machine when its time is over. */
  #isOver(): boolean {
    if (this.#aloneMs < this.#init.aloneMs) return false
    const { log, powerOff } = this.#components
    const minutes = Math.round(this.#aloneMs / 60_000)
    if (!this.#hasFired) log.error({ minutes }, 'no coordinator was heard: the machine is switched off')
    this.#hasFired = true
    powerOff().then(
      // nothing that this process could do is left: the machine goes, and if it does not, it is told again
      () => this.#schedule(AGAIN_MS),
      (thrown: unknown) => {
        log.error({ reason: asSkeinError(thrown).message }, 'the machine could not be switched off; tried again')
        this.#schedule(AGAIN_MS)
      },
    )
    return true
  }

  /** What former processes of this boot counted. Does not throw: what cannot be read counts as nothing. */
  async #kept(): Promise<number> {
    try {
      const text = await readFile(this.#init.path, 'utf8')
      const kept: unknown = text.length > FILE_LENGTH_MAX ? undefined : JSON.parse(text)
      if (!isKept(kept) || Math.abs(kept.bootAtMs - this.#bootAtMs) > BOOT_SKEW_MS) return 0
      return kept.aloneMs
    } catch {
      return 0
    }
  }

  /** Does not throw: on a full disk the count goes on in memory. */
  async #keep(): Promise<void> {
    if (this.#isWriting) return
    this.#isWriting = true
    const aloneMs = this.#aloneMs
    try {
      const bootAtMs = Math.max(0, this.#bootAtMs)
      await writeFileAtomic(this.#init.path, JSON.stringify({ aloneMs: Math.round(aloneMs), bootAtMs }))
    } catch (thrown) {
      this.#components.log.warn({ reason: asSkeinError(thrown).message }, 'the time alone could not be written down')
    } finally {
      this.#isWriting = false
    }
    // a slow disk: what changed meanwhile is what counts
    if (this.#aloneMs !== aloneMs) await this.#keep()
  }

  get #bootAtMs(): number {
    return this.#components.clock.wallMs() - this.#components.uptimeMs()
  }
}

/** Runs a program with its arguments, without a shell. Rejects when it fails, or does not end in time. */
export async function runPowerOff(
  clock: Clock,
  [program = '', ...args]: readonly string[],
  run: RunCommand = runCommand,
): Promise<void> {
  const late = (): SkeinError => new SkeinError('INTERNAL', `${program} did not end within ${COMMAND_MS} ms`)
  await withDeadline(clock, COMMAND_MS, late, undefined, (signal) => run(program, args, signal))
}

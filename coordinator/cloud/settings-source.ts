/**
 * The cloud settings in force, from their file: read again when it changes, taken over whole or not at all. At the start a file
 * with an error ends the start, since what its owner wants to stay in the house would not be known; later the settings before
 * stay in force, and those of a file that is gone as well.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { CloudRules } from '../dispatch/index.ts'
import { cloudRules } from './policy.ts'
import { CLOUD_FILE, readCloudSettings, type CloudSettings } from './settings.ts'

/** The file is looked at so often. */
const LOOK_MS = 1000

export interface CloudSettingsComponents {
  readonly clock: Clock
  readonly log: Logger
}

export class CloudSettingsSource {
  readonly name = 'cloud settings'
  readonly #clock: Clock
  readonly #log: Logger
  readonly #dataDir: string
  readonly #listeners = new Set<(settings: CloudSettings) => void>()
  #settings: CloudSettings = readCloudSettings('')
  #rules: CloudRules = cloudRules(this.#settings.policy)
  #problem: SkeinError | undefined
  /** Taken over, or found to be wrong. */
  #seen: string | undefined
  /** Found by the last look; taken over by the next when nothing has changed: an editor may not have written all of it. */
  #found: string | undefined
  #cancel: CancelTimer = () => {}
  #looking: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor({ clock, log }: CloudSettingsComponents, dataDir: string) {
    this.#clock = clock
    this.#log = log.scope('cloud')
    this.#dataDir = dataDir
  }

  get settings(): CloudSettings {
    return this.#settings
  }

  /** What dispatch asks: those of the settings in force. */
  readonly rules = (): CloudRules => this.#rules

  /** What is wrong with the file; the settings in force are earlier ones then. */
  get problem(): SkeinError | undefined {
    return this.#problem
  }

  /** Tells of settings that were taken over from now on. Returns how to stop that. */
  watch(listener: (settings: CloudSettings) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @throws SkeinError CONFIG_INVALID for a file with an error, or that cannot be read. */
  async start(): Promise<void> {
    const text = await this.#read()
    if (text !== undefined) this.#take(text)
    this.#again()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#cancel()
    await this.#looking
  }

  /** Looks at the file, and takes over what was the same at the look before. Does not throw. */
  async look(): Promise<void> {
    let text: string | undefined
    try {
      text = await this.#read()
    } catch (thrown) {
      return this.#refuse(asSkeinError(thrown))
    }
    if (text === undefined || text === this.#seen) this.#found = undefined
    else if (text !== this.#found) this.#found = text
    else {
      this.#found = undefined
      try {
        this.#take(text)
      } catch (thrown) {
        this.#refuse(asSkeinError(thrown))
      }
    }
  }

  #again(): void {
    this.#cancel = this.#clock.timer(LOOK_MS, () => {
      this.#looking = this.look().then(() => {
        if (!this.#isStopped) this.#again()
      })
    })
  }

  /** @throws SkeinError CONFIG_INVALID. */
  #take(text: string): void {
    this.#seen = text
    const settings = readCloudSettings(text)
    const rules = cloudRules(settings.policy)
    this.#settings = settings
    this.#rules = rules
    this.#problem = undefined
    const { policy, endpoints } = settings
    this.#log.info({ reasons: policy.reasons, endpoints: endpoints.length }, 'the cloud settings of the owner hold')
    for (const listener of this.#listeners) listener(settings)
  }

  #refuse(problem: SkeinError): void {
    if (this.#problem?.message !== problem.message)
      this.#log.warn({ code: problem.code }, `${problem.message}; the settings before stay in force`)
    this.#problem = problem
  }

  /** `undefined` when there is none. @throws SkeinError CONFIG_INVALID when it cannot be read. */
  async #read(): Promise<string | undefined> {
    try {
      return await readFile(join(this.#dataDir, CLOUD_FILE), 'utf8')
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw new SkeinError('CONFIG_INVALID', `${CLOUD_FILE} cannot be read: ${asSkeinError(thrown).message}`)
    }
  }
}

/**
 * The policy in force, from its file: read again when it changes, taken over whole or not at all. What cannot be
 * understood leaves the last valid policy in force, over a restart too (`policy.valid.toml`).
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asSkeinError, type SkeinError } from '../../mesh/protocol/index.ts'
import { writeFileAtomic, type Logger } from '../../mesh/runtime/index.ts'
import { POLICY_FILE, policyTemplate, readPolicy, type ReadPolicy } from './policy-file.ts'

/** A file that has changed is taken over when nothing has moved for this long: an editor may not have written all of it. */
const SETTLE_MS = 100

/** The text of the last policy that could be understood. */
export const VALID_POLICY_FILE = 'policy.valid.toml'

export class PolicySource {
  readonly #dataDir: string
  readonly #log: Logger
  #policy: ReadPolicy = readPolicy('')
  #problem: SkeinError | undefined
  #isClosed = false
  /** Taken over, or found to be wrong. */
  #seen: string | undefined
  /** Not taken over yet, and when it was found. */
  #found: { readonly text: string; readonly mark: string; readonly atMs: number } | undefined
  #saving: Promise<void> = Promise.resolve()

  constructor(dataDir: string, log: Logger) {
    this.#dataDir = dataDir
    this.#log = log
  }

  get policy(): ReadPolicy {
    return this.#policy
  }

  /** What is wrong with the file; the policy in force is an earlier one then. */
  get problem(): SkeinError | undefined {
    return this.#problem
  }

  /** The file is wrong and there is no valid policy to go by: what its owner wants is not known. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Ms after which a look may take over what was found; `undefined` when there is nothing new. */
  get settlesInMs(): number | undefined {
    return this.#found && SETTLE_MS
  }

  /** Writes the commented file when there is none, and reads it. Does not throw. */
  async open(): Promise<void> {
    const text = await this.#read(POLICY_FILE)
    if (text === undefined) return this.#write(POLICY_FILE, policyTemplate())
    this.#take(text)
    if (this.#problem === undefined) return
    const valid = await this.#read(VALID_POLICY_FILE)
    try {
      this.#policy = readPolicy(valid ?? '')
      this.#isClosed = valid === undefined
    } catch {
      this.#isClosed = true
    }
  }

  /** Looks at the file, and takes over what has settled. Does not throw. @param nowMs monotonic. */
  async look(nowMs: number): Promise<void> {
    // Taken first: what is written while it is read has another mark at the next look.
    const mark = await this.#mark()
    const text = await this.#read(POLICY_FILE)
    if (text === undefined || text === this.#seen) this.#found = undefined
    else if (text !== this.#found?.text || mark !== this.#found.mark) this.#found = { text, mark, atMs: nowMs }
    else if (nowMs - this.#found.atMs >= SETTLE_MS) {
      this.#found = undefined
      this.#take(text)
    }
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#saving
  }

  #take(text: string): void {
    this.#seen = text
    try {
      this.#policy = readPolicy(text)
      this.#problem = undefined
      this.#isClosed = false
      this.#log.info({ set: [...this.#policy.written.keys()] }, 'the policy of its owner holds')
      this.#saving = this.#saving.then(() => this.#write(VALID_POLICY_FILE, text))
    } catch (thrown) {
      this.#problem = asSkeinError(thrown)
      this.#log.warn({ code: this.#problem.code }, `${this.#problem.message}; the last valid policy stays in force`)
    }
  }

  /** `undefined` when it is not there or cannot be read: what was in force stays in force. */
  #read(name: string): Promise<string | undefined> {
    return readFile(join(this.#dataDir, name), 'utf8').catch(() => undefined)
  }

  /** Another one each time that the file is written, even when it then says the same. */
  async #mark(): Promise<string> {
    const found = await stat(join(this.#dataDir, POLICY_FILE), { bigint: true }).catch(() => undefined)
    return found === undefined ? '' : `${found.ino} ${found.mtimeNs} ${found.size}`
  }

  async #write(name: string, text: string): Promise<void> {
    try {
      await writeFileAtomic(join(this.#dataDir, name), text)
    } catch (thrown) {
      this.#log.warn({ file: name, reason: asSkeinError(thrown).message }, 'could not be written')
    }
  }
}

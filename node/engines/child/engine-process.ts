/** An engine process as its parent sees it: started on demand, spoken to by messages, gone for good when it ends. */
import { fork, type ChildProcess } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { Logger } from '../../../mesh/runtime/index.ts'
import type { ToChild, ToParent } from './messages.ts'

export interface EngineProcessHandlers {
  message(message: ToParent): void
  /** Called once, with ENGINE_CRASHED, also after `kill`. */
  exit(error: SkeinError): void
  /** Puts away what the process left; `kill` waits for it. Does not throw. */
  ended?(): Promise<void>
}

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const MAIN = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url))
/** Log output of the child kept for one line, in UTF-16 code units; the rest of a longer one is dropped. */
const LOG_LENGTH_MAX = 4096

export class EngineProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>

  constructor(log: Logger, handlers: EngineProcessHandlers) {
    this.#child = fork(MAIN, [], {
      serialization: 'advanced',
      // a debugger or a loader of the parent is not the child's
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log.debug({ pid: this.pid, text: text.slice(0, LOG_LENGTH_MAX) }, 'engine process')
    })
    this.#child.on('message', (message) => handlers.message(message as ToParent))
    this.#ended = new Promise((resolve) => {
      const onEnd = (why: string): void => {
        void Promise.resolve(handlers.ended?.()).then(resolve)
        handlers.exit(new SkeinError('ENGINE_CRASHED', `the engine process ended (${why})`))
      }
      this.#child.once('exit', (code, signal) => onEnd(signal ?? `exit code ${code}`))
      this.#child.once('error', (error) => {
        if (this.pid === undefined) onEnd(`it did not start: ${error.message}`)
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** What cannot be sent is answered by `exit`. */
  send(message: ToChild): void {
    this.#child.send(message, () => undefined)
  }

  /** Ends it at once: it holds nothing that is not here too, and the system frees what it held. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}

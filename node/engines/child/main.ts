/**
 * Entry of the engine process. It dies with its parent, whatever becomes of that: the channel closes, and it kills
 * itself. Killing, not exiting: `exit` waits for native threads, and there is nothing to save. What it kept in files of what
 * people said goes first.
 */
import { writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { SystemClock, createLogger } from '../../../mesh/runtime/index.ts'
import { ChildHost } from './child-host.ts'
import type { ToChild } from './messages.ts'

// a terminal's Ctrl-C goes to the whole group; the parent decides what becomes of running answers
process.on('SIGINT', () => undefined)
// when memory runs out, Linux is to end this process rather than the agent or what the owner works with
try {
  writeFileSync('/proc/self/oom_score_adj', '500')
} catch {
  // another system, or not allowed
}

const host = new ChildHost({
  clock: new SystemClock(),
  log: createLogger('debug', process.stderr),
  send: (message) => {
    process.send?.(message)
    // compiled code is written at an exit, which this process never has; does nothing where no cache is set
    if (message.type === 'loaded' || message.type === 'devices') flushCompileCache()
  },
})
process.on('message', (message) => host.receive(message as ToChild))
process.on('disconnect', () => {
  host.discardFiles()
  process.kill(process.pid, 'SIGKILL')
})

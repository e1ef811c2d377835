/** What happens when nobody reads stdout or stderr any more: `skein run … | head`, a parent or a log service that died. */

/** As shells tell of a process that SIGPIPE ended. */
const EXIT_BROKEN_PIPE = 141

const streams = [process.stdout, process.stderr]
const end = (): never => process.exit(EXIT_BROKEN_PIPE)
const ignore = (): void => undefined

/** A command ends with its reader, without a word: there is nobody to hear it. */
export function endWithOutput(): void {
  for (const stream of streams) stream.on('error', end)
}

/** A service goes on: answers run. An error that nothing caught would be logged, and the log is what is broken. */
export function outliveOutput(): void {
  for (const stream of streams) stream.off('error', end).on('error', ignore)
}

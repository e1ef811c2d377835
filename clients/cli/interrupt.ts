/** Ctrl-C and SIGTERM, as an AbortSignal or as an ordered shutdown. */

/** Thrown, and the reason of the signal, when the person interrupts: the command ends with exit code 130. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** Aborts at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort(new Interrupted('interrupted'))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return controller.signal
}

/** Resolves with the first signal that asks the process to stop; a second one ends it at once. */
export function stopRequested(): Promise<'SIGINT' | 'SIGTERM'> {
  return new Promise((resolve) => {
    let asked = false
    const onSignal = (signal: 'SIGINT' | 'SIGTERM'): void => {
      if (asked) process.exit(signal === 'SIGINT' ? 130 : 143)
      asked = true
      resolve(signal)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    // A launcher or parent that dies takes its end of the channel with it: nobody is left to stop us.
    process.on('disconnect', () => onSignal('SIGTERM'))
  })
}

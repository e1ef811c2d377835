/** What every adapter holds its orders and its provider's answers to. */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import { CALL_MS, type LaunchOrder } from '../provider.ts'

const TOKEN = /^[A-Za-z0-9-]{1,64}$/
const NAME = /^[a-z][a-z0-9-]{0,62}$/
const SAID_LENGTH_MAX = 300

/** The process's variables, as far as somebody looks. */
export type Environment = Readonly<Record<string, string | undefined>>

export const refused = (message: string, cause?: unknown): SkeinError =>
  new SkeinError('CLOUD_REFUSED', message, { cause })
export const noCapacity = (message: string, cause?: unknown): SkeinError =>
  new SkeinError('CLOUD_NO_CAPACITY', message, { cause })
export const unavailable = (message: string, retryAfterSeconds?: number, cause?: unknown): SkeinError =>
  new SkeinError('CLOUD_UNAVAILABLE', message, { ...(retryAfterSeconds !== undefined && { retryAfterSeconds }), cause })

/** Text of a provider in a message: it reaches terminals and logs. */
export const printable = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, SAID_LENGTH_MAX)

/** @throws SkeinError CLOUD_REFUSED naming the variable that has no key. */
export function keyOf(environment: Environment, variable: string): string {
  const key = environment[variable]
  if (key === undefined || key === '') throw refused(`the environment variable ${variable} has no key`)
  return key
}

/** The flavour of that name. @throws SkeinError CLOUD_REFUSED when there is none. */
export function flavourOf<T>(flavours: ReadonlyMap<string, T>, name: string): T {
  const flavour = flavours.get(name)
  if (flavour === undefined) throw refused(`this provider has no flavour ${JSON.stringify(printable(name))}`)
  return flavour
}

/** @throws SkeinError CLOUD_REFUSED for what is beyond the port's bounds: it would end in tags and commands. */
export function checkOrder({ token, name, aloneMinutes }: LaunchOrder): void {
  if (!TOKEN.test(token)) throw refused('the token of a launch has characters that providers do not take')
  if (!NAME.test(name)) throw refused('the name of a machine has characters that providers do not take')
  if (!Number.isSafeInteger(aloneMinutes) || aloneMinutes < 1)
    throw refused('the minutes of the dead-man switch are a whole number from 1 on')
}

/** Runs one exchange with `who`, for `CALL_MS` at most. */
export function bounded<T>(
  clock: Clock,
  who: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  return withDeadline(clock, CALL_MS, () => unavailable(`${who}: no answer within ${CALL_MS} ms`), signal, work)
}

/** Work on one key after the other: two launches of one token at once must not both find nothing. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const mine = Promise.withResolvers<void>()
    this.#last.set(key, mine.promise)
    await before
    try {
      return await work()
    } finally {
      if (this.#last.get(key) === mine.promise) this.#last.delete(key)
      mine.resolve()
    }
  }
}

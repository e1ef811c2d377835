import type { Logger } from '../../../mesh/runtime/index.ts'

/** A logger that says nothing. */
export const NOTHING_LOGGED: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  trace: () => {},
  scope: () => NOTHING_LOGGED,
}

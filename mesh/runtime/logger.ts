/** Logs: pino to stderr, scoped by part (`mesh:coordinator:dispatch`). Prompts and keys are never given to a logger. */
import pino from 'pino'

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

export interface Logger {
  error(fields: object, message: string): void
  warn(fields: object, message: string): void
  info(fields: object, message: string): void
  debug(fields: object, message: string): void
  trace(fields: object, message: string): void
  /** A logger whose lines carry `scope` and `fields`. */
  scope(scope: string, fields?: object): Logger
}

export function createLogger(level: LogLevel, destination: { write(line: string): void } = process.stderr): Logger {
  return wrap(pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination), 'skein')
}

export const silentLogger: Logger = createLogger('silent')

function wrap(base: pino.Logger, name: string): Logger {
  return {
    error: (fields, message) => base.error(fields, message),
    warn: (fields, message) => base.warn(fields, message),
    info: (fields, message) => base.info(fields, message),
    debug: (fields, message) => base.debug(fields, message),
    trace: (fields, message) => base.trace(fields, message),
    scope: (scope, fields = {}) => wrap(base.child({ ...fields, scope: `${name}:${scope}` }), `${name}:${scope}`),
  }
}

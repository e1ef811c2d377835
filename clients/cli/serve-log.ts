/** Where a process of the mesh logs: stderr, or a file with rotation, which `skein logs` reads. */
import { join, resolve } from 'node:path'
import { createLogger, LogFile, type Clock, type DataDir, type Logger } from '../../mesh/runtime/index.ts'
import type { Output } from './output.ts'
import type { ServeOptions } from './serve-options.ts'

const AUTO = 'auto'

/** The log of the Skein in `dataDir` when it is told `--log-file auto`, as services are. */
export const autoLogPath = (dataDir: string): string => join(dataDir, 'logs', 'skein.log')

export interface ServeLog {
  readonly log: Logger
  /** What is told while the process runs: with a log file, members and models come and go there (level info). */
  readonly output: Output
  /** Writes what is left. */
  close(): Promise<void>
}

/** @throws SkeinError CONFIG_INVALID when the log file cannot be written. */
export async function openServeLog(
  options: Pick<ServeOptions, 'logLevel' | 'logFile'>,
  base: { readonly clock: Clock; readonly data: DataDir },
  output: Output,
): Promise<ServeLog> {
  const { logLevel, logFile } = options
  if (logFile === undefined) return { log: createLogger(logLevel), output, close: () => Promise.resolve() }
  const path = logFile === AUTO ? autoLogPath(base.data.path) : resolve(logFile)
  const file = await LogFile.open(base, { path })
  const log = createLogger(logLevel, file)
  // `process.exit` waits for nothing
  const flush = (): void => file.flushSync()
  process.on('exit', flush)
  return {
    log,
    output: { ...output, note: (text) => log.info({}, text.trim()) },
    close: async () => {
      await file.close()
      process.off('exit', flush)
    },
  }
}

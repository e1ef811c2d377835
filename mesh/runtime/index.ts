/** What every process needs and no part owns: time, randomness, logs, order of start and stop, the data directory. */
export * from './clock.ts'
export * from './random.ts'
export * from './logger.ts'
export * from './lifecycle.ts'
export * from './queue.ts'
export * from './data-dir.ts'
export * from './files.ts'
export * from './file-lock.ts'

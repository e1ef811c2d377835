/** The machine that is looked at, as a port: tests show the checks machines that are not there. */
import { constants } from 'node:fs'
import { access, readdir, readFile, readlink, stat, statfs } from 'node:fs/promises'
import { freemem, totalmem } from 'node:os'
import type { Clock } from '../../../mesh/runtime/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { askWith, runProgram } from '../service/apply.ts'
import type { Ask } from '../service/systemd.ts'

export interface Machine {
  readonly platform: NodeJS.Platform
  readonly nodeVersion: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  /** Text of a file of the system; `undefined` when it cannot be read. */
  text(path: string): Promise<string | undefined>
  /** Names in a folder; none when it cannot be read. */
  list(path: string): Promise<readonly string[]>
  /** Where a link leads; `undefined` for what is none. */
  link(path: string): Promise<string | undefined>
  exists(path: string): Promise<boolean>
  /** Whether this account may read and write there. */
  mayUse(path: string): Promise<boolean>
  /** Permission bits; `undefined` for what is not there. */
  mode(path: string): Promise<number | undefined>
  disk(path: string): Promise<{ readonly freeBytes: number; readonly sizeBytes: number }>
  memory(): { readonly freeBytes: number; readonly sizeBytes: number }
  readonly ask: Ask
}

const succeeds = (step: Promise<unknown>): Promise<boolean> =>
  step.then(
    () => true,
    () => false,
  )

export const systemMachine = (): Machine => ({
  platform: process.platform,
  nodeVersion: process.version,
  env: process.env,
  clock: new SystemClock(true),
  text: (path) => readFile(path, 'utf8').catch(() => undefined),
  list: (path) => readdir(path).catch(() => []),
  link: (path) => readlink(path).catch(() => undefined),
  exists: (path) => succeeds(access(path)),
  mayUse: (path) => succeeds(access(path, constants.R_OK | constants.W_OK)),
  mode: (path) =>
    stat(path).then(
      ({ mode }) => mode & 0o777,
      () => undefined,
    ),
  disk: async (path) => {
    const { bavail, blocks, bsize } = await statfs(path)
    return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize }
  },
  memory: () => ({ freeBytes: freemem(), sizeBytes: totalmem() }),
  ask: askWith(runProgram),
})

/**
 * `pause.json` in the data directory: how `skein pause` and `skein resume` reach the node that runs there, or that will.
 * It outlives the process: what its owner has paused stays paused.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { asSkeinError, checker, SkeinError } from '../../mesh/protocol/index.ts'
import { writeFileAtomic } from '../../mesh/runtime/index.ts'

export const PAUSE_FILE = 'pause.json'

const time = () => Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
/** Both in ms since 1970; until it is resumed when there is no end. */
const PauseSchema = Type.Object({ sinceMs: time(), untilMs: Type.Optional(time()) })
export type Pause = Static<typeof PauseSchema>

const isPause = checker(PauseSchema)

/**
 * The pause of the node in `dataDir`, or `undefined`. A file that cannot be understood is a pause without an end: somebody
 * wanted this machine to rest. Does not throw.
 */
export async function readPause(dataDir: string): Promise<Pause | undefined> {
  let text: string
  try {
    text = await readFile(join(dataDir, PAUSE_FILE), 'utf8')
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : { sinceMs: 0 }
  }
  try {
    const value: unknown = JSON.parse(text)
    return isPause(value) ? value : { sinceMs: 0 }
  } catch {
    return { sinceMs: 0 }
  }
}

/** @throws SkeinError DATA_DIR_UNUSABLE. */
export async function writePause(dataDir: string, pause: Pause | undefined): Promise<void> {
  const path = join(dataDir, PAUSE_FILE)
  try {
    if (pause === undefined) await rm(path, { force: true })
    else await writeFileAtomic(path, `${JSON.stringify(pause)}\n`)
  } catch (cause) {
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${asSkeinError(cause).message}; is --data right?`, { cause })
  }
}

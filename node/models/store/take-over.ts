/**
 * Takes a file of this machine into the store: by a hard link where it is on the same disk, by sharing its blocks where
 * the file system can, else by a link to where it is. Gigabytes are copied only when that is asked for, or when nothing
 * else works.
 */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { copyFile as cloneFile, link, open, rm, symlink } from 'node:fs/promises'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { asStoreError } from './disk.ts'

const SLICE_BYTES = 256 * 1024

export type Taking = 'linked' | 'shared' | 'referenced' | 'copied'

/** SHA-256 of the file at `path` in hexadecimal digits. @throws SkeinError MODEL_FILE_INVALID; the signal's reason. */
export async function hashFile(path: string, onBytes: (bytes: number) => void, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const slice of slices(path, signal)) {
    hash.update(slice)
    onBytes((bytes += slice.length))
  }
  return hash.digest('hex')
}

/**
 * Copies `from` to `to`, durably, and gives the SHA-256 of what it wrote.
 *
 * @throws SkeinError MODEL_FILE_INVALID, DISK_FULL, DATA_DIR_UNUSABLE; the signal's reason.
 */
export async function copyFile(
  from: string,
  to: string,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    const copy = await open(to, 'w', 0o600)
    try {
      for await (const slice of slices(from, signal)) {
        hash.update(slice)
        await copy.writeFile(slice)
        onBytes((bytes += slice.length))
      }
      await copy.sync()
    } finally {
      await copy.close()
    }
  } catch (thrown) {
    signal.throwIfAborted()
    throw asStoreError(thrown, to)
  }
  return hash.digest('hex')
}

async function* slices(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const slice of createReadStream(path, { highWaterMark: SLICE_BYTES, signal })) yield slice as Buffer
  } catch (cause) {
    signal.throwIfAborted()
    throw new SkeinError('MODEL_FILE_INVALID', `${path}: ${(cause as Error).message}`, { cause })
  }
}

/** Puts the file at `from` at `to` without copying it; `undefined` when these disks have no way to. */
export async function takeOver(from: string, to: string): Promise<Taking | undefined> {
  const ways: readonly (readonly [Taking, () => Promise<void>])[] = [
    ['linked', () => link(from, to)],
    ['shared', () => cloneFile(from, to, constants.COPYFILE_FICLONE_FORCE)],
    ['referenced', () => symlink(from, to)],
  ]
  for (const [taking, act] of ways)
    try {
      await rm(to, { force: true })
      await act()
      return taking
    } catch {
      // the next way
    }
  return undefined
}

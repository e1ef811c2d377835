/** Small private files of the data directory: written whole or not at all, readable by their owner alone. */
import { chmod, mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SkeinError } from '../protocol/index.ts'
import { writeFileAtomic } from '../runtime/index.ts'

/** Owner reads and writes; nobody else. */
const PRIVATE_MODE = 0o600

const isErrno = (error: unknown, code: string): boolean => (error as NodeJS.ErrnoException | undefined)?.code === code

/**
 * Puts `data` into place whole and durably: a crash leaves the old or the new file.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE naming the file.
 */
export async function writePrivateFile(path: string, data: Uint8Array | string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFileAtomic(path, data, PRIVATE_MODE)
    await syncDirectory(dirname(path))
  } catch (cause) {
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path} cannot be written: ${(cause as Error).message}`, { cause })
  }
}

/** A rename is durable only once its directory is; not every file system lets a directory be synced. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } catch (error) {
    if (!isErrno(error, 'EINVAL') && !isErrno(error, 'EPERM') && !isErrno(error, 'EISDIR')) throw error
  } finally {
    await directory.close()
  }
}

/**
 * The file's bytes, or `undefined` when there is none. Takes away other users' rights to it, should it have got any.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE naming the file.
 */
export async function readPrivateFile(path: string): Promise<Uint8Array | undefined> {
  try {
    const data = await readFile(path)
    await chmod(path, PRIVATE_MODE)
    return data
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return undefined
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/**
 * The JSON value in the file, or `undefined` when there is none.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE for a file that `check` refuses.
 */
export async function readPrivateJson<T>(path: string, check: (value: unknown) => value is T): Promise<T | undefined> {
  const data = await readPrivateFile(path)
  if (data === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(data))
  } catch (cause) {
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path} is damaged: it is not JSON`, { cause })
  }
  if (!check(value)) throw new SkeinError('DATA_DIR_UNUSABLE', `${path} is damaged: its fields are not as written`)
  return value
}

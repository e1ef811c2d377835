/**
 * The disk behind the store, as a port, and the budget: how much of it stays free whatever is pulled. A disk that is
 * full costs more than a model: the ledger could not be written any more.
 */
import { open, statfs } from 'node:fs/promises'
import { SkeinError } from '../../../mesh/protocol/index.ts'

export interface DiskSpace {
  readonly freeBytes: number
  readonly sizeBytes: number
}

/** What a pull does to its unfinished file; Node's `FileHandle` is one. */
export interface PartHandle {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>
  write(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }>
  truncate(bytes: number): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface Disk {
  space(path: string): Promise<DiskSpace>
  /** Opens for reading and writing, making it if need be. */
  open(path: string): Promise<PartHandle>
}

export const systemDisk: Disk = {
  space: async (path) => {
    const { bavail, blocks, bsize } = await statfs(path)
    return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize }
  },
  open: async (path) => {
    try {
      return await open(path, 'r+', 0o600)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
      return open(path, 'w+', 0o600)
    }
  },
}

/** How much stays free: bytes, or a share (0 to 1) of the disk. */
export type KeepFree = { readonly bytes: number } | { readonly share: number }

const DEFAULT_SHARE = 0.1
const DEFAULT_BYTES = 5 * 1024 ** 3

/** The smaller of 10 % and 5 GiB, unless told: a small disk is not to be refused, nor a large one to be wasted. */
const reserveBytes = (space: DiskSpace, keep: KeepFree | undefined): number => {
  if (keep === undefined) return Math.min(DEFAULT_SHARE * space.sizeBytes, DEFAULT_BYTES)
  return 'bytes' in keep ? keep.bytes : keep.share * space.sizeBytes
}

/** @throws SkeinError DISK_FULL with the numbers, when `neededBytes` more would leave too little free. */
export async function checkSpace(
  disk: Disk,
  path: string,
  neededBytes: number,
  keep: KeepFree | undefined,
): Promise<void> {
  const space = await disk.space(path)
  const reserve = reserveBytes(space, keep)
  if (space.freeBytes - neededBytes >= reserve) return
  throw new SkeinError(
    'DISK_FULL',
    `${mebibytes(neededBytes)} are still needed and ${mebibytes(space.freeBytes)} free on the disk of ${path}, of which ` +
      `${mebibytes(reserve)} stay free; make room (skein rm NAME), or say what is to stay free (--keep-free SIZE)`,
  )
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`

const FULL: readonly (string | undefined)[] = ['ENOSPC', 'EDQUOT']

/** An error of the file system as one of ours. */
export function asStoreError(thrown: unknown, path: string): SkeinError {
  if (thrown instanceof SkeinError) return thrown
  const { code, message } = thrown as NodeJS.ErrnoException
  if (FULL.includes(code))
    return new SkeinError('DISK_FULL', `no room is left on the disk of ${path}; make some, and pull again to go on`, {
      cause: thrown,
    })
  return new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${message}`, { cause: thrown })
}

/** Compression of a log that was put aside: whole or not at all, on the disk before the original goes. */
import { createReadStream, createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'

/**
 * Makes `path`.gz of `path` and removes `path`. When that cannot be done (a full disk), `path` stays as it is. Never
 * rejects.
 */
export async function compressLog(path: string): Promise<void> {
  const beside = `${path}.gz.tmp`
  try {
    await pipeline(createReadStream(path), createGzip(), createWriteStream(beside, { mode: 0o600 }))
    const file = await open(beside, 'r+')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, `${path}.gz`)
    await rm(path, { force: true })
  } catch {
    await rm(beside, { force: true }).catch(() => undefined)
  }
}

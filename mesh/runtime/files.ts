/** Small files that must never be seen half written. */
import { open, rename, rm } from 'node:fs/promises'

let writes = 0

/** Writes `content` beside `path`, flushes it to the disk and puts it in place: a reader sees the old or the new whole. */
export async function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const beside = `${path}.${process.pid}.${writes++}.tmp`
  try {
    const file = await open(beside, 'w', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
  } catch (error) {
    await rm(beside, { force: true })
    throw error
  }
}

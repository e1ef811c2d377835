/** Fetches one remote file into its part, whole and checked: what a pull of one file does once, and one of several for each. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { asSkeinError, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { checkSpace } from './disk.ts'
import { download, type DownloadComponents, type DownloadInit } from './download.ts'
import { Part, type PartIdentity, type PartPaths } from './part.ts'
import type { RemoteFile } from './source.ts'

export interface FetchInit extends Omit<DownloadInit, 'part'> {
  readonly identity: PartIdentity
  readonly paths: PartPaths
  readonly onBegan: (resumedBytes: number) => void
}

/**
 * `finish` gets the SHA-256 of the file and its part, which it closes and moves. What came is kept for the next try, unless
 * it is of no use to one.
 *
 * @throws SkeinError as `download`, MODEL_DIGEST_MISMATCH, or MODEL_SOURCE_CHANGED when other members may have what was
 *   promised; what `finish` throws; the signal's reason.
 */
export async function fetchPart<T>(
  components: DownloadComponents,
  init: FetchInit,
  finish: (sha256: string, part: Part) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { file, identity, paths } = init
  const part = await Part.open(components.disk, paths, identity)
  try {
    const sha256 = await filled(components, init, part, signal)
    if (file.sha256 !== undefined && sha256 !== file.sha256) {
      const why = `${file.origin} sent other bytes than promised (sha256:${sha256} instead of sha256:${file.sha256}); they are thrown away`
      const isOpen = (await file.outcome?.mismatched(signal)) === true
      throw new SkeinError(isOpen ? 'MODEL_SOURCE_CHANGED' : 'MODEL_DIGEST_MISMATCH', why)
    }
    if (file.gitSha1 !== undefined) await checkGit(file, part.path)
    file.outcome?.finished()
    return await finish(sha256, part)
  } catch (thrown) {
    await part.close().catch(() => {})
    if (isWorthless(thrown) || part.doneBytes === 0) await Part.discard(paths)
    throw thrown
  }
}

async function filled(
  components: DownloadComponents,
  { file, isGguf, connections, keepFree, onRetry, onBegan, onProgress }: FetchInit,
  part: Part,
  signal: AbortSignal,
): Promise<string> {
  await checkSpace(components.disk, part.path, part.missingBytes, keepFree)
  onBegan(part.resumedBytes)
  const bounded = Math.min(LIMITS.pullConnectionsMax, connections)
  const told = { file, part, isGguf, connections: bounded, onRetry, onProgress }
  return download(components, { ...told, ...(keepFree && { keepFree }) }, signal)
}

/** SHA-1 that git has of the file at `path`, in hexadecimal digits. */
export async function gitSha1Of(path: string, sizeBytes: number): Promise<string> {
  const hash = createHash('sha1').update(`blob ${sizeBytes}\0`)
  for await (const slice of createReadStream(path)) hash.update(slice as Buffer)
  return hash.digest('hex')
}

/** Of what git keeps itself there is no other digest. @throws SkeinError MODEL_DIGEST_MISMATCH. */
async function checkGit({ origin, file, gitSha1, sizeBytes }: RemoteFile, path: string): Promise<void> {
  const found = await gitSha1Of(path, sizeBytes)
  if (found === gitSha1) return
  throw new SkeinError(
    'MODEL_DIGEST_MISMATCH',
    `${origin} sent other bytes of ${file} than promised (git's ${found} instead of ${gitSha1}); they are thrown away`,
  )
}

/** Whether what came is of no use to a next try. */
export const isWorthless = (thrown: unknown): boolean => {
  const { code } = asSkeinError(thrown)
  return code === 'MODEL_DIGEST_MISMATCH' || code === 'MODEL_FILE_INVALID' || code === 'MODEL_SOURCE_CHANGED'
}

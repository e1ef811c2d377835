/**
 * `npm run build:web`: builds the page (`clients/web`) into `dist/web`, unless it is what was built last. Says nothing when
 * there is nothing to do, and with `--quiet` only what goes wrong or takes long. Several at once wait for the first of them.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { dirname, join } from 'node:path'
import { buildPage } from './web-page/build.ts'
import { digestOfSources, PAGE_TARGET, readStamp, STAMP } from './web-page/sources.ts'

const LOCK = join(dirname(PAGE_TARGET), '.web-lock')
const POLL_MS = 100
const LONG_MS = 1000

const isQuiet = process.argv.includes('--quiet')

/** Whether what is built is of these sources. Marks it as looked at then, so that the next look is at times alone. */
function isFresh(digest: string): boolean {
  if (readStamp()?.digest !== digest) return false
  const now = new Date()
  utimesSync(join(PAGE_TARGET, STAMP), now, now)
  return true
}

/** Takes the lock; `false` where another process that lives has it. */
function lock(): boolean {
  mkdirSync(dirname(LOCK), { recursive: true })
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    if (isHeld()) return false
    // whoever held it is gone
    rmSync(LOCK, { force: true })
    return lock()
  }
}

function isHeld(): boolean {
  try {
    process.kill(Number(readFileSync(LOCK, 'utf8')), 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Puts the new page in the place of the old one, which is whole until then. */
async function replacePage(digest: string): Promise<void> {
  const made = `${PAGE_TARGET}.${process.pid}`
  const old = `${made}.old`
  try {
    const { initialGzipBytes, totalGzipBytes } = await buildPage(made, digest)
    rmSync(old, { recursive: true, force: true })
    try {
      renameSync(PAGE_TARGET, old)
    } catch {
      // the first one
    }
    renameSync(made, PAGE_TARGET)
    const kilobytes = (bytes: number): string => (bytes / 1000).toFixed(1)
    if (!isQuiet)
      process.stdout.write(
        `dist/web: ${kilobytes(initialGzipBytes)} kB to begin with, ${kilobytes(totalGzipBytes)} kB in all (gzip)\n`,
      )
  } finally {
    rmSync(made, { recursive: true, force: true })
    rmSync(old, { recursive: true, force: true })
  }
}

async function main(): Promise<void> {
  const digest = digestOfSources()
  if (isFresh(digest)) return
  while (!lock()) await sleep(POLL_MS)
  const tell = (): void => void process.stderr.write('skein: building the web page (it is there in a moment)\n')
  const long = isQuiet ? setTimeout(tell, LONG_MS) : undefined
  try {
    // another one may have built it meanwhile
    if (!isFresh(digest)) await replacePage(digest)
  } finally {
    clearTimeout(long)
    rmSync(LOCK, { force: true })
  }
}

try {
  await main()
} catch (error) {
  process.stderr.write(
    `skein: the web page does not build: ${error instanceof Error ? error.message : String(error)}\n`,
  )
  process.exitCode = 1
}

/**
 * A vitest global setup: the tests of a run have a temporary folder of their own, which must be empty when they have ended.
 * What a test leaves behind fails the run, since on somebody's machine it would stay for ever, and is removed all the same.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PREFIX = 'skein-run-'

export default function setup(): () => void {
  const outer = tmpdir()
  removeOrphans(outer)
  const own = mkdtempSync(join(outer, `${PREFIX}${process.pid}-`))
  // what Node compiles is worth keeping: it has its place outside, as with npm's scripts (`node24.cjs`)
  process.env['NODE_COMPILE_CACHE'] ??= join(outer, 'node-compile-cache')
  process.env['TMPDIR'] = own
  return () => {
    process.env['TMPDIR'] = outer
    const left = readdirSync(own)
    rmSync(own, { recursive: true, force: true })
    if (left.length > 0)
      throw new TypeError(`tests left ${left.length} things in the temporary folder: ${left.join(', ')}`)
  }
}

/** A run that was killed could not remove its folder, nor the small disks that it had mounted there. */
function removeOrphans(outer: string): void {
  for (const name of readdirSync(outer)) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN
    if (!(pid > 0) || isAlive(pid)) continue
    const orphan = join(outer, name)
    try {
      for (const disk of mountsIn(orphan)) execFileSync('umount', ['-l', disk], { stdio: 'pipe' })
      rmSync(orphan, { recursive: true, force: true })
    } catch (error) {
      // what is left of another run, maybe another user's, is no reason for this one to fail
      console.warn(`${orphan} is left of a run that was killed, and cannot be removed: ${(error as Error).message}`)
    }
  }
}

/** Innermost first. */
function mountsIn(folder: string): string[] {
  if (process.platform !== 'linux') return []
  const points = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
  return points.filter((point) => point.startsWith(`${folder}/`)).sort((a, b) => b.length - a.length)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // somebody else's process lives too
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

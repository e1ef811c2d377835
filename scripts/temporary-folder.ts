/**
 * A vitest global setup: the tests of a run have a temporary folder of their own, which must be empty when they have ended.
 * What a test leaves behind fails the run, since on somebody's machine it would stay for ever, and is removed all the same.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
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

/** A run that was killed could not remove its folder. */
function removeOrphans(outer: string): void {
  for (const name of readdirSync(outer)) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN
    if (pid > 0 && !isAlive(pid)) rmSync(join(outer, name), { recursive: true, force: true })
  }
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

import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { LogFile, ManualClock, oldLogs } from '../../../mesh/runtime/index.ts'

let dir: string
let path: string
let clock: ManualClock
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-log-'))
  path = join(dir, 'logs', 'skein.log')
  clock = new ManualClock()
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const open = (init: { fileBytesMax?: number; filesMax?: number } = {}): Promise<LogFile> =>
  LogFile.open({ clock }, { path, ...init })
const line = (n: number): string => `{"n":${n},"text":"${'x'.repeat(50)}"}\n`

/** Numbers of all lines, the oldest first, with what was put aside. */
async function numbers(): Promise<number[]> {
  const texts: string[] = []
  for (const old of await oldLogs(path)) {
    const bytes = await readFile(old.path)
    texts.push(old.isCompressed ? gunzipSync(bytes).toString() : bytes.toString())
  }
  texts.push(await readFile(path, 'utf8'))
  return texts
    .join('')
    .split('\n')
    .filter((each) => each !== '')
    .map((each) => (JSON.parse(each) as { n: number }).n)
}

describe('LogFile', () => {
  it('writes lines in order, for its owner alone', async () => {
    const log = await open()
    for (let n = 0; n < 1000; n++) log.write(line(n))
    await log.close()
    expect(await numbers()).toEqual(Array.from({ length: 1000 }, (_, n) => n))
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    log.write(line(0))
    await log.close()
  })

  it('puts files aside without losing a line, and compresses them', async () => {
    const log = await open({ fileBytesMax: 2000, filesMax: 1000 })
    for (let n = 0; n < 1000; n++) {
      log.write(line(n))
      if (n % 100 === 0) await log.settled()
    }
    await log.close()
    expect(await numbers()).toEqual(Array.from({ length: 1000 }, (_, n) => n))
    const old = await oldLogs(path)
    expect(old.length).toBeGreaterThan(20)
    expect(old.every(({ isCompressed }) => isCompressed)).toBe(true)
    expect((await stat(path)).size).toBeLessThanOrEqual(2000)
    expect((await readdir(join(dir, 'logs'))).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  it('keeps as many files as it is told, the newest', async () => {
    const log = await open({ fileBytesMax: 2000, filesMax: 3 })
    for (let n = 0; n < 1000; n++) log.write(line(n))
    await log.close()
    expect(await readdir(join(dir, 'logs'))).toHaveLength(4)
    const kept = await numbers()
    expect(kept.at(-1)).toBe(999)
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => 1000 - kept.length + i))
  })

  it('goes on in a new file when its own is removed, or its folder', async () => {
    const log = await open()
    log.write(line(1))
    await log.settled()
    await rm(path)
    await clock.advance(1001)
    log.write(line(2))
    await log.settled()
    expect(await numbers()).toEqual([2])
    await rm(join(dir, 'logs'), { recursive: true })
    await clock.advance(1001)
    log.write(line(3))
    await log.close()
    expect(await numbers()).toEqual([3])
  })

  it('survives a full disk: keeps what it can, counts the rest, and says so when there is room again', async () => {
    await mkdir(join(dir, 'logs'))
    await symlink('/dev/full', path)
    const log = await open()
    const long = `"${'y'.repeat(60_000)}"\n`
    for (let n = 0; n < 100; n++) log.write(long)
    await log.settled()
    expect(log.dropped).toBeGreaterThan(50)
    log.write(line(5))
    await clock.advance(LIMITS.logRetryMs)
    await log.settled()
    await rm(path)
    await clock.advance(LIMITS.logRetryMs)
    await log.settled()
    log.write(line(7))
    await log.close()
    const lines = (await readFile(path, 'utf8')).trim().split('\n')
    const note = lines.findIndex((each) => each.includes('dropped'))
    const { dropped, msg, level } = JSON.parse(lines[note]!) as { dropped: number; msg: string; level: number }
    expect(lines.filter((each) => each.length > 50_000).length + dropped).toBeGreaterThanOrEqual(100)
    expect(lines.filter((each) => each.length > 50_000).length + dropped).toBeLessThanOrEqual(101)
    expect([level, msg]).toEqual([40, expect.stringContaining('ENOSPC')])
    // nothing that was kept comes behind what was dropped
    expect(lines.slice(note + 1)).toEqual([line(7).trim()])
  })

  it('bounds what waits, and counts a line that is too long', async () => {
    const log = await open()
    log.write(`"${'z'.repeat(LIMITS.logLineBytesMax)}"\n`)
    await log.close()
    expect(await readFile(path, 'utf8')).toMatch(
      /"dropped":1,"msg":"1 lines were dropped: a line of 65539 bytes is too long"/,
    )
  })

  it('does not write behind half a line', async () => {
    await mkdir(join(dir, 'logs'))
    await writeFile(path, '{"n":1}\n{"n":')
    const log = await open()
    log.write(line(2))
    await log.close()
    expect((await readFile(path, 'utf8')).split('\n').slice(0, 3)).toEqual(['{"n":1}', '{"n":', line(2).trim()])
  })

  it('compresses what a killed process left, and numbers on from there', async () => {
    await mkdir(join(dir, 'logs'))
    await writeFile(`${path}.000041`, line(1))
    // killed between the two: whole, and its original not yet removed
    await writeFile(`${path}.000041.gz`, gzipSync(line(1)))
    await writeFile(path, line(2))
    const log = await open({ fileBytesMax: 100 })
    for (const n of [3, 4]) {
      log.write(line(n))
      await log.settled()
    }
    await log.close()
    expect((await oldLogs(path)).map(({ number, isCompressed }) => [number, isCompressed])).toEqual([
      [41, true],
      [42, true],
      [43, true],
    ])
    expect(await numbers()).toEqual([1, 2, 3, 4])
    expect(await readdir(join(dir, 'logs'))).toHaveLength(4)
  })

  it('writes at once what is left when the process ends', async () => {
    const log = await open()
    log.write(line(1))
    await log.settled()
    log.write(line(2))
    log.write(line(3))
    log.flushSync()
    await log.settled()
    expect(await numbers()).toEqual(expect.arrayContaining([1, 3]))
    await log.close()
  })

  it('refuses a path that can never be written', async () => {
    await expect(LogFile.open({ clock }, { path: dir })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await writeFile(join(dir, 'file'), '')
    await expect(LogFile.open({ clock }, { path: join(dir, 'file', 'x') })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })
})

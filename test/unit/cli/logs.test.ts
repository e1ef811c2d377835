/** Reading a log: over rotated files, as it grows, and as people read it. */
import { appendFile, mkdtemp, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { formatLogLine, isShown, parseLogLine } from '../../../clients/cli/log-format.ts'
import { LineSplitter, readLog } from '../../../clients/cli/log-reader.ts'
import { LogFile, ManualClock, SystemClock } from '../../../mesh/runtime/index.ts'

let dir: string
let path: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-logs-'))
  path = join(dir, 'skein.log')
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const all = async (sinceMs?: number): Promise<string[]> => {
  const lines: string[] = []
  for await (const line of readLog({ path, ...(sinceMs !== undefined && { sinceMs }) })) lines.push(line)
  return lines
}

describe('a log with rotated files', () => {
  it('is read from its oldest line on, and each line once', async () => {
    await writeFile(`${path}.000009.gz`, gzipSync('a\nb\n'))
    await writeFile(`${path}.000010`, 'c\n')
    // compressed, and not removed yet
    await writeFile(`${path}.000010.gz`, gzipSync('c\n'))
    await writeFile(`${path}.000011`, 'd\n')
    await writeFile(path, 'e\nf')
    await writeFile(`${path}.bak`, 'not ours\n')
    expect(await all()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  it('is read without the files that are too old', async () => {
    await writeFile(`${path}.000001`, 'old\n')
    await utimes(`${path}.000001`, 1000, 1000)
    await writeFile(path, 'new\n')
    expect(await all(2_000_000)).toEqual(['new'])
  })

  it('is read once while its files are put aside and compressed', async () => {
    const log = await LogFile.open({ clock: new ManualClock() }, { path, fileBytesMax: 40, filesMax: 10_000 })
    let isWritten = false
    const writing = (async () => {
      for (let n = 0; n < 600; n++) {
        log.write(`line ${n}\n`)
        await log.settled()
      }
      isWritten = true
    })()
    while (!isWritten) {
      const lines = await all().catch(() => [])
      expect(lines).toEqual(lines.map((_, n) => `line ${n}`))
    }
    await writing
    await log.close()
  })

  it('is read over a damaged part, and not when there is none', async () => {
    await expect(all()).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await writeFile(`${path}.000001.gz`, gzipSync('a\n').subarray(0, 12))
    await writeFile(path, 'b\n')
    expect(await all()).toEqual(['b'])
  })

  it('takes lines apart however they come, and cuts what never ends', () => {
    const splitter = new LineSplitter()
    const bytes = Buffer.from('ä\nb\n')
    expect([...splitter.take(bytes.subarray(0, 1))]).toEqual([])
    expect([...splitter.take(bytes.subarray(1))]).toEqual(['ä', 'b'])
    expect([...splitter.take(Buffer.alloc(300 * 1024, 0x61))][0]).toHaveLength(300 * 1024)
    expect([...splitter.end()]).toEqual([])
  })
})

describe('a log that is followed', () => {
  const followed: string[] = []
  let stop: AbortController
  let done: Promise<unknown>
  const start = (): void => {
    followed.length = 0
    stop = new AbortController()
    const follow = { clock: new SystemClock(true), signal: stop.signal }
    done = (async () => {
      for await (const line of readLog({ path, follow })) followed.push(line)
    })().catch((error: unknown) => error)
  }
  const untilThere = async (line: string): Promise<void> => {
    for (let i = 0; i < 400 && !followed.includes(line); i++) await new Promise((resolve) => setTimeout(resolve, 25))
    expect(followed).toContain(line)
  }
  afterEach(async () => {
    stop.abort(new TypeError('enough'))
    expect(await done).toMatchObject({ message: 'enough' })
  })

  it('goes on over rotations between two looks, and loses and repeats nothing', async () => {
    const log = await LogFile.open({ clock: new ManualClock() }, { path, fileBytesMax: 100, filesMax: 1000 })
    for (let n = 0; n < 50; n++) log.write(`line ${n}\n`)
    start()
    for (let n = 50; n < 300; n++) {
      log.write(`line ${n}\n`)
      if (n % 40 === 0) await new Promise((resolve) => setTimeout(resolve, 60))
    }
    await untilThere('line 299')
    expect(followed).toEqual(Array.from({ length: 300 }, (_, n) => `line ${n}`))
    await log.close()
  })

  it('waits for a log that is not there yet, and takes a truncation', async () => {
    start()
    await new Promise((resolve) => setTimeout(resolve, 50))
    await writeFile(path, 'first line\n')
    await untilThere('first line')
    await truncate(path, 0)
    await appendFile(path, 'next\n')
    await untilThere('next')
    await rename(path, `${path}.moved`)
    await writeFile(path, 'other\n')
    await untilThere('other')
    expect(followed).toEqual(['first line', 'next', 'other'])
  })
})

describe('a line', () => {
  const text = JSON.stringify({
    level: 50, time: '2027-01-15T08:26:40.123Z', scope: 'skein:network', msg: 'cannot dial',
    peer: '12D3', err: { type: 'SkeinError', code: 'DIAL_FAILED', message: 'no route', stack: 'x' }, note: 'two words',
  }) // prettier-ignore
  const plain = (_style: unknown, word: string): string => word

  it('is told with its time, level, part and fields', () => {
    const told = formatLogLine(parseLogLine(text), plain)
    expect(told).toMatch(
      /^2027-01-1\d \d\d:\d\d:40\.123 {2}error {2}network {2}cannot dial {2}peer=12D3 {2}err="DIAL_FAILED: no route" {2}note="two words"$/,
    )
  })

  it('is chosen by level, age and text', () => {
    const line = parseLogLine(text)
    expect(isShown(line, { level: 'warn' })).toBe(true)
    expect(isShown(parseLogLine(text.replace('50', '30')), { level: 'warn' })).toBe(false)
    expect(isShown(line, { sinceMs: Date.parse('2027-01-15T08:26:41Z') })).toBe(false)
    expect(isShown(line, { grep: 'CANNOT' })).toBe(true)
    expect(isShown(line, { grep: 'can dial' })).toBe(false)
  })

  it('of someone else is shown as it is, and never as a command to the terminal', () => {
    for (const odd of ['plain', '{"level":"x"}', '[1]', 'null', '{"level":30,"time":"never"}'])
      expect(parseLogLine(odd).entry).toBeUndefined()
    expect(isShown(parseLogLine('plain'), { level: 'error' })).toBe(false)
    expect(formatLogLine(parseLogLine('\u001b]0;owned\u0007'), plain)).toBe('\\x1b]0;owned\\x07')
    const hostile = JSON.stringify({ level: 30, time: '2027-01-15T08:26:40Z', msg: 'a\u001b[2J', k: '\u202e' })
    // eslint-disable-next-line no-control-regex -- none of these may be left
    expect(formatLogLine(parseLogLine(hostile), plain)).not.toMatch(/[\u0000-\u001f\u202e]/)
  })
})

import { describe, expect, it } from 'vitest'
import { createOutput } from '../../../clients/cli/output.ts'
import { keepFree, shareRate, sizeOrNone } from '../../../clients/cli/pull-options.ts'
import { PullReport } from '../../../clients/cli/pull-report.ts'
import { asPeerId } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'

const MIB = 1024 ** 2
const PEER = asPeerId(`12D3KooW${'1'.repeat(44)}`)

function bench(init: { json?: boolean; isTTY?: boolean; columns?: number }) {
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') =>
    ({ isTTY: init.isTTY, columns: init.columns, write: (text: string) => ((written[name] += text), true) }) as never
  const output = createOutput(init.json ?? false, { stdout: stream('stdout'), stderr: stream('stderr') })
  const clock = new ManualClock()
  const report = new PullReport('hf:o/r', output, clock, stream('stderr'))
  const progress = async (mebibytes: number, ofMebibytes: number, afterMs = 1000): Promise<void> => {
    await clock.advance(afterMs)
    report.tell({ event: 'progress', doneBytes: mebibytes * MIB, sizeBytes: ofMebibytes * MIB })
  }
  return { written, report, progress }
}

describe('PullReport', () => {
  it('draws one line on a terminal, over and over, no wider than it', async () => {
    const { written, report, progress } = bench({ isTTY: true, columns: 60 })
    for (let done = 0; done <= 50; done += 10) await progress(done, 100)
    const lines = written.stderr.split('\r\u001b[2K').slice(1)
    expect(lines).toHaveLength(6)
    for (const line of lines) expect(line.length).toBeLessThan(60)
    expect(lines.at(-1)).toBe('████████████░░░░░░░░░░░░  50 %  50 MiB of 100 MiB  10 MiB/s')
    report.end()
    expect(written.stderr.endsWith('\r\u001b[2K')).toBe(true)
    expect(written.stdout).toBe('')
  })

  it('tells rate and rest over the last seconds', async () => {
    const { written, progress } = bench({ isTTY: true, columns: 200 })
    for (let done = 0; done <= 20; done++) await progress(done, 100)
    for (let done = 25; done <= 50; done += 5) await progress(done, 100)
    expect(written.stderr).toMatch(/ {2}50 %\D{2}50 MiB of 100 MiB {2}5\.0 MiB\/s {2}10 s left$/)
  })

  it('writes a line for each tenth where there is no terminal', async () => {
    const { written, progress } = bench({})
    for (let done = 0; done <= 100; done++) await progress(done, 100)
    const lines = written.stderr.trimEnd().split('\n')
    expect(lines).toHaveLength(10)
    expect(lines[0]).toBe(' 10 %  10 MiB of 100 MiB  1.0 MiB/s  1 min left')
    expect(lines.at(-1)).toBe('100 %  100 MiB of 100 MiB')
  })

  it('prints an event a line for scripts, at most two a second, and the last', async () => {
    const { written, report, progress } = bench({ json: true })
    report.tell({ event: 'began', resumedBytes: 3, sizeBytes: 100 * MIB, isRanged: true })
    for (let done = 1; done <= 100; done++) await progress(done, 100, 50)
    const events = written.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as object) // prettier-ignore
    expect(events).toHaveLength(11 + 1)
    expect(events[0]).toMatchObject({ event: 'pull', state: 'began', reference: 'hf:o/r', resumedBytes: 3 })
    expect(events.at(-1)).toMatchObject({ event: 'pull', state: 'progress', doneBytes: 100 * MIB })
    expect(written.stderr).toBe('')
  })

  it('says that it waits once, what is wrong each time, and what is kept', async () => {
    const { written, report, progress } = bench({})
    expect(report.kept).toBeUndefined()
    for (let i = 0; i < 3; i++) report.tell({ event: 'waiting', doneBytes: 0, sizeBytes: 100 })
    report.tell({ event: 'retrying', reason: 'status 503', delayMs: 2400 })
    report.tell({ event: 'restarting', reason: 'it changed' })
    await progress(5, 100)
    expect(written.stderr.split('\n').slice(0, 3)).toEqual([
      'another process pulls it; waiting for that one …',
      'status 503; asking again in 2 s',
      'it changed; starting again',
    ])
    expect(report.kept).toBe('5.0 MiB of 100 MiB')
  })
})

describe('a pull from members', () => {
  it('says who gives, who gives no more and why, and how much came from each', () => {
    const { written, report } = bench({})
    report.tell({ event: 'located', file: 'm.gguf', source: 'mesh:x', sizeBytes: 5 * MIB, members: ['attic', 'desk'] })
    report.tell({ event: 'dropped', member: 'desk', peerId: PEER, reason: 'chunk 2 is not what it should be' })
    report.tell({ event: 'shares', shares: [{ member: 'attic', peerId: PEER, bytes: 5 * MIB }] })
    expect(written.stderr.trim().split('\n')).toEqual([
      'm.gguf, 5.0 MiB, from attic, desk',
      'desk gives nothing more: chunk 2 is not what it should be',
      '5.0 MiB from attic',
    ])
  })
})

describe('--share-rate', () => {
  it('is bytes in a second, enough for a chunk to come in time', () => {
    expect([shareRate('32M'), shareRate('1.5 gb'), shareRate('1MiB')]).toEqual([32 * MIB, 1.5e9, MIB])
    for (const wrong of ['', '0', '1023K', '2T', '10%', '-1M', '5 parsecs'])
      expect(() => shareRate(wrong), wrong).toThrow('1M to 1T')
  })
})

describe('--kv-states', () => {
  it('is a size, or none', () => {
    expect([sizeOrNone('512M'), sizeOrNone('1.5 gb'), sizeOrNone('0')]).toEqual([512 * MIB, 1.5e9, 0])
    for (const wrong of ['', '1023K', '2T', '10%', '-1M', '5 parsecs'])
      expect(() => sizeOrNone(wrong), wrong).toThrow('0, or a size from 1M to 1T')
  })
})

describe('--keep-free', () => {
  it('is a share of the disk or a size', () => {
    expect(keepFree('10%')).toEqual({ share: 0.1 })
    expect(keepFree('0')).toEqual({ bytes: 0 })
    expect(keepFree('5GiB')).toEqual({ bytes: 5 * 1024 ** 3 })
    expect(keepFree('1.5 gb')).toEqual({ bytes: 1.5e9 })
    expect(keepFree('300m')).toEqual({ bytes: 300 * MIB })
    for (const wrong of ['', '-1', '101%', '5 parsecs', '1e9', 'GiB', '%'])
      expect(() => keepFree(wrong), wrong).toThrow('10% or 5GiB')
  })
})

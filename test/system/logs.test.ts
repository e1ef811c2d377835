/** Logs under load, with real processes: rotation, a kill, a full disk, and `skein logs` beside them. */
import { spawn, type ChildProcess, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

const WRITER = fileURLToPath(new URL('../fixtures/log-writer.ts', import.meta.url))
const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))
const KIB = 1024

let dir: string
let path: string
let children: ChildProcess[]
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-logs-'))
  path = join(dir, 'logs', 'skein.log')
  children = []
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(dir, { recursive: true, force: true })
})

const start = (...args: string[]): ChildProcess => {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  return child
}
const write = (from: number, to: number): ChildProcess =>
  start(WRITER, path, String(from), String(to), String(256 * KIB))
const numbersIn = (text: string): number[] => [...text.matchAll(/line (\d+)/g)].map(([, n]) => Number(n))

describe('a log under load', () => {
  it('loses no line at rotations, and the one who follows it sees each once', async () => {
    await mkdir(join(dir, 'logs'))
    const follower = start(LAUNCHER, 'logs', '-f', '--data', dir)
    let followed = ''
    follower.stdout!.on('data', (chunk: Buffer) => (followed += chunk.toString()))
    const writer = write(0, 30_000)
    const [code] = (await once(writer, 'exit')) as [number]
    expect(code).toBe(0)
    await eventually('the last line', async () => (followed.includes('line 29999') ? true : undefined), 60_000)
    const expected = Array.from({ length: 30_000 }, (_, n) => n)
    expect(numbersIn(followed)).toEqual(expected)
    const shown = await skein(['logs', '--data', dir, '--json'])
    expect(numbersIn(shown.stdout)).toEqual(expected)
    const names = await readdir(join(dir, 'logs'))
    expect(names.filter((name) => name.endsWith('.gz')).length).toBeGreaterThan(5)
    expect(names.filter((name) => !name.endsWith('.gz'))).toEqual(['skein.log'])
  })

  it('goes on after a kill in the middle: what was written is there, on lines of its own', async () => {
    const first = write(0, 10_000_000)
    await eventually(
      'a rotation',
      async () => ((await stat(`${path}.000002.gz`).catch(() => undefined)) ? true : undefined),
      30_000,
    )
    const exit = once(first, 'exit')
    first.kill('SIGKILL')
    await exit
    const second = write(10_000_000, 10_000_100)
    await once(second, 'exit')
    const numbers = numbersIn((await skein(['logs', '--data', dir, '--json'])).stdout)
    const before = numbers.filter((n) => n < 10_000_000)
    expect(before).toEqual(Array.from({ length: before.length }, (_, n) => n))
    expect(numbers.filter((n) => n >= 10_000_000)).toHaveLength(100)
    expect((await readdir(join(dir, 'logs'))).filter((name) => !/^skein\.log(\.\d{6}\.gz)?$/.test(name))).toEqual([])
  })

  it('is read by level, text, age and number of lines', async () => {
    await once(write(0, 1000), 'exit')
    const lines = async (...args: string[]): Promise<string[]> =>
      (await skein(['logs', '--data', dir, ...args])).stdout.trim().split('\n')
    expect(await lines('--level', 'warn')).toHaveLength(10)
    expect((await lines('--lines', '3')).map((line) => /line \d+/.exec(line)?.[0])).toEqual([
      'line 997',
      'line 998',
      'line 999',
    ])
    expect(await lines('--grep', 'LINE 77')).toHaveLength(11)
    expect(await lines('--since', '1h')).toHaveLength(1000)
    const none = await skein(['logs', '--data', join(dir, 'none')])
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('there is no log')])
  })
})

describe('a full disk', () => {
  let mounted: string | undefined
  afterEach(() => {
    if (mounted !== undefined) execFileSync('umount', ['-l', mounted])
    mounted = undefined
  })

  it('stops no Skein, and what waited for room is written when there is some', async () => {
    const small = join(dir, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', small])
    mounted = small
    const filler = join(small, 'filler')
    await writeFile(filler, Buffer.alloc(256 * KIB)).catch(() => undefined)
    const log = join(small, 'skein.log')
    const up = await SkeinProcess.start({
      args: ['coordinator', '--http', '127.0.0.1:0', '--no-mdns', '--log-level', 'trace', '--log-file', log],
      dataDir: join(dir, 'data'),
    })
    try {
      expect((await fetch(`${up.http}/health/live`)).status).toBe(200)
      expect(await readFile(log, 'utf8').catch(() => '')).toBe('')
      await rm(filler)
      // what waited is written when the log is tried again
      await eventually(
        'lines',
        async () => ((await readFile(log, 'utf8').catch(() => '')).length > 100 ? true : undefined),
        20_000,
      )
      expect((await fetch(`${up.http}/health/live`)).status).toBe(200)
    } finally {
      expect(await up.stop()).toBe(0)
    }
    const text = await readFile(log, 'utf8')
    for (const line of text.trim().split('\n')) JSON.parse(line)
  })
})

describe('skein coordinator --log-file auto', () => {
  it('logs into its data directory, says there why it cannot start, and tells no secret', async () => {
    const data = join(dir, 'data')
    const args = ['coordinator', '--http', '127.0.0.1:0', '--no-mdns', '--log-level', 'info', '--log-file', 'auto']
    const first = await SkeinProcess.start({ args, dataDir: data })
    const { invite, http } = first.ready
    expect(first.stderr).toBe('')
    await first.stop()
    const port = new URL(http!).port
    const other = await SkeinProcess.start({
      args: ['coordinator', '--http', `127.0.0.1:${port}`, '--no-mdns'],
      dataDir: join(dir, 'other'),
    })
    const failed = await skein([...args.slice(0, 2), `127.0.0.1:${port}`, ...args.slice(3), '--data', data])
    await other.stop()
    expect(failed.code).toBe(1)
    const shown = await skein(['logs', '--data', data, '--level', 'error'])
    expect(shown.stdout).toContain('Skein did not start')
    expect(shown.stdout).toContain('PORT_IN_USE')
    expect(await readFile(join(data, 'logs', 'skein.log'), 'utf8')).not.toContain(invite)
  })

  it('refuses a log that it cannot write', async () => {
    const { code, stderr } = await skein([
      'coordinator',
      '--http',
      '127.0.0.1:0',
      '--log-file',
      dir,
      '--data',
      join(dir, 'data'),
    ])
    expect([code, stderr]).toEqual([2, expect.stringContaining('--log-file')])
  })
})

/** The cache in memory and on the disk: bounds, ages, restarts, and files that are not what was written. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AnswerCache, Flights, type AnswerKey, type KeptAnswer } from '../../../coordinator/cache/index.ts'
import { LIMITS, packTokenIds } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'

const keyOf = (n: number): AnswerKey => n.toString(16).padStart(64, '0') as AnswerKey
const WORDS = ['the ', 'geese — ', 'fly\n']

describe('AnswerCache', () => {
  const clock = new ManualClock()
  let dir: string
  const open: AnswerCache[] = []
  const cacheOf = (bytesMax: number, diskBytesMax?: number): AnswerCache => {
    const disk = diskBytesMax === undefined ? {} : { disk: { dir: join(dir, 'answers'), bytesMax: diskBytesMax } }
    const cache = new AnswerCache({ clock, log: silentLogger }, { bytesMax, ...disk })
    open.push(cache)
    void cache.start()
    return cache
  }
  const answer = (tail = '', madeAtMs = clock.wallMs()): KeptAnswer => ({
    madeAtMs,
    part: {
      index: 0,
      ids: packTokenIds([5, 6, 7]),
      text: WORDS.join(''),
      cuts: WORDS.map((word) => [1, word.length] as const),
    },
    tail,
    finishReason: 'stop',
    stopIndex: 1,
    usage: { promptTokens: 4, cachedTokens: 0, completionTokens: 3, thoughtTokens: 1 },
  })
  const pathOf = (key: AnswerKey): string => join(dir, 'answers', key.slice(0, 2), key)
  const files = async (): Promise<string[]> =>
    (await readdir(dir, { recursive: true, withFileTypes: true })).filter((e) => e.isFile()).map(({ name }) => name)

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skein-answers-'))
  })
  afterEach(async () => {
    for (const cache of open.splice(0)) await cache.stop()
    await rm(dir, { recursive: true, force: true })
  })

  it('gives back what it kept, from memory and, after a restart, from the disk', async () => {
    const first = cacheOf(1e6, 1e6)
    first.keep(keyOf(1), answer('held back'))
    expect(await first.find(keyOf(1))).toEqual(answer('held back'))
    await first.stop()
    const second = cacheOf(1e6, 1e6)
    expect(await second.find(keyOf(1))).toEqual(answer('held back'))
    expect(await second.find(keyOf(1))).toEqual(answer('held back'))
    expect(await second.find(keyOf(2))).toBeUndefined()
    expect(first.stats().hits).toEqual({ memory: 1, disk: 0, shared: 0 })
    expect(second.stats().hits).toEqual({ memory: 1, disk: 1, shared: 0 })
    expect((await stat(pathOf(keyOf(1)))).mode & 0o777).toBe(0o600)
    expect((await stat(join(dir, 'answers'))).mode & 0o777).toBe(0o700)
  })

  it('keeps one without tokens', async () => {
    const { part: _, ...bare } = answer('all of it')
    const first = cacheOf(0, 1e6)
    first.keep(keyOf(1), bare)
    await first.settled()
    expect(await first.find(keyOf(1))).toEqual(bare)
  })

  it('stays within its bytes: the one that was longest not asked for makes place', async () => {
    const cache = cacheOf(3000)
    for (const n of [1, 2, 3]) cache.keep(keyOf(n), answer())
    const one = cache.stats().memory.bytes / 3
    expect(await cache.find(keyOf(1))).toBeDefined()
    for (let n = 4; 3 * one + (n - 3) * one <= 3000 + one; n++) cache.keep(keyOf(n), answer())
    expect(await cache.find(keyOf(1))).toBeDefined()
    expect(await cache.find(keyOf(2))).toBeUndefined()
    const { memory, evicted } = cache.stats()
    expect(memory.bytes).toBeLessThanOrEqual(3000)
    expect(memory.bytes).toBe(memory.entries * one)
    expect(evicted).toBeGreaterThan(0)
    cache.keep(keyOf(1), answer('x'.repeat(5000)))
    expect(await cache.find(keyOf(1))).toBeUndefined()
    expect(cache.stats().memory.bytes).toBeLessThanOrEqual(3000)
    const roomy = cacheOf(1e9)
    roomy.keep(keyOf(1), answer('x'.repeat(LIMITS.cachedAnswerBytesMax / 2)))
    expect(roomy.stats()).toMatchObject({ kept: 0, memory: { entries: 0 } })
  })

  it('stays within its bytes on the disk, over a restart too', async () => {
    const first = cacheOf(0, 1600)
    for (const n of [1, 2, 3, 4, 5, 6]) {
      first.keep(keyOf(n), answer('', clock.wallMs() + n))
      await first.settled()
    }
    await clock.advance(10)
    const { disk, evicted } = first.stats()
    expect(disk!.bytes).toBeLessThanOrEqual(1600)
    expect(evicted).toBe(6 - disk!.entries)
    expect((await files()).length).toBe(disk!.entries)
    await first.stop()
    const second = cacheOf(0, Math.floor(1600 / disk!.entries))
    await second.settled()
    expect(await files()).toEqual([keyOf(6)])
    expect(await second.find(keyOf(6))).toBeDefined()
    expect(await second.find(keyOf(5))).toBeUndefined()
  })

  it.each([
    ['cut short', (path: string) => truncate(path, 100)],
    ['empty', (path: string) => truncate(path, 0)],
    [
      'with another letter',
      async (path: string) => writeFile(path, (await readFile(path, 'utf8')).replace('fly', 'fry')),
    ],
    [
      'of another version',
      async (path: string) => writeFile(path, (await readFile(path, 'utf8')).replace(' 1 ', ' 2 ')),
    ],
    ["another one's", async (path: string) => writeFile(path, await readFile(pathOf(keyOf(9))))],
    ['of something else', (path: string) => writeFile(path, 'x'.repeat(LIMITS.cachedAnswerBytesMax + 1))],
  ])('a file that is %s is a miss, counted and deleted', async (_what, harm) => {
    const cache = cacheOf(0, 1e8)
    for (const n of [1, 9]) cache.keep(keyOf(n), answer())
    await cache.settled()
    await harm(pathOf(keyOf(1)))
    expect(await cache.find(keyOf(1))).toBeUndefined()
    await cache.settled()
    expect(cache.stats()).toMatchObject({ corrupted: 1, hits: { disk: 0 }, disk: { entries: 1 } })
    expect(await files()).toEqual([keyOf(9)])
    cache.keep(keyOf(1), answer())
    await cache.settled()
    expect(await cache.find(keyOf(1))).toEqual(answer())
  })

  it('what a crash has left half written is deleted; what is not ours stays and is not counted', async () => {
    await mkdir(join(dir, 'answers', '00'), { recursive: true })
    await writeFile(`${pathOf(keyOf(1))}.tmp`, 'skein-ans')
    await writeFile(join(dir, 'answers', '00', 'notes'), 'mine')
    const cache = cacheOf(0, 1e6)
    await cache.settled()
    expect(await files()).toEqual(['notes'])
    expect(cache.stats().disk).toMatchObject({ entries: 0, bytes: 0 })
  })

  it('its folder may be deleted at any time', async () => {
    const cache = cacheOf(0, 1e6)
    cache.keep(keyOf(1), answer())
    await cache.settled()
    await rm(join(dir, 'answers'), { recursive: true })
    expect(await cache.find(keyOf(1))).toBeUndefined()
    cache.keep(keyOf(2), answer())
    await cache.settled()
    expect(await cache.find(keyOf(2))).toEqual(answer())
    expect(cache.stats()).toMatchObject({ corrupted: 0, unwritten: 0, disk: { entries: 1 } })
  })

  it('a disk that refuses costs what is kept there, and nothing else', async () => {
    await writeFile(join(dir, 'answers'), 'a file where the folder should be')
    const cache = cacheOf(1e6, 1e6)
    cache.keep(keyOf(1), answer())
    await cache.settled()
    expect(await cache.find(keyOf(1))).toEqual(answer())
    expect(cache.stats().unwritten).toBe(1)
  })

  it('gives nothing that is too old, and deletes it', async () => {
    const cache = cacheOf(1e6, 1e6)
    cache.keep(keyOf(1), answer())
    cache.keep(keyOf(2), answer())
    await cache.settled()
    await clock.advance(5000)
    expect(await cache.find(keyOf(1), 5000)).toBeDefined()
    expect(await cache.find(keyOf(1), 4999)).toBeUndefined()
    await clock.advance(LIMITS.cachedAnswerMs - 5000)
    expect(await cache.find(keyOf(2))).toBeDefined()
    await clock.advance(1)
    expect(await cache.find(keyOf(2))).toBeUndefined()
    await clock.advance(600_000)
    await cache.settled()
    expect(await files()).toEqual([])
    expect(cache.stats()).toMatchObject({
      expired: 4,
      memory: { entries: 0, bytes: 0 },
      disk: { entries: 0, bytes: 0 },
    })
  })

  it('gives nothing from the future: its clock was set back', async () => {
    const cache = cacheOf(1e6)
    cache.keep(keyOf(1), answer('', clock.wallMs() + 1))
    expect(await cache.find(keyOf(1))).toBeUndefined()
  })

  it('forgets one, and all', async () => {
    const cache = cacheOf(1e6, 1e6)
    for (const n of [1, 2, 3]) cache.keep(keyOf(n), answer())
    cache.forget(keyOf(1))
    await cache.settled()
    expect(await cache.find(keyOf(1))).toBeUndefined()
    expect(await cache.find(keyOf(2))).toBeDefined()
    await cache.clear()
    expect(await cache.find(keyOf(2))).toBeUndefined()
    expect(await files()).toEqual([])
    cache.keep(keyOf(3), answer())
    await cache.settled()
    expect(await files()).toEqual([keyOf(3)])
  })

  it('writes what waits when it is stopped, and nothing that comes after', async () => {
    const cache = cacheOf(0, 1e6)
    cache.keep(keyOf(1), answer())
    await cache.stop()
    cache.keep(keyOf(2), answer())
    await cache.settled()
    expect(await files()).toEqual([keyOf(1)])
  })
})

describe('Flights', () => {
  it('of those that follow a run that failed, the first goes on and the others follow it', () => {
    const flights = new Flights<{ name: string }>()
    const [a, b, c] = [{ name: 'a' }, { name: 'b' }, { name: 'c' }]
    flights.lead(keyOf(1), a)
    expect(flights.leader(keyOf(1))).toBe(a)
    expect(flights.succeed(keyOf(1), a, b)).toBe(b)
    flights.land(keyOf(1), a)
    expect(flights.succeed(keyOf(1), a, c)).toBe(b)
    flights.land(keyOf(1), b)
    expect(flights.size).toBe(0)
    expect(flights.succeed(keyOf(1), b, c)).toBe(c)
  })
})

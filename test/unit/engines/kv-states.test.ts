import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Token } from 'node-llama-cpp'
import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'
import { KvStates, type KvState, type StateHolder } from '../../../node/engines/llama/kv-states.ts'
import { temporaryDirectory } from '../node/support.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const BYTES_PER_TOKEN = 100

const tokens = (from: number, count: number): Token[] => Array.from({ length: count }, (_, i) => (from + i) as Token)

/** Writes 100 bytes for each of `length` tokens; of very many it only says so. */
class Holder implements StateHolder {
  readonly loaded: string[] = []
  readonly #length: number
  readonly #failure: Error | undefined

  constructor(length = 0, failure?: Error) {
    this.#length = length
    this.#failure = failure
  }

  async saveStateToFile(path: string): Promise<{ fileSize: number }> {
    if (this.#failure !== undefined) throw this.#failure
    const fileSize = this.#length * BYTES_PER_TOKEN
    await writeFile(path, Buffer.alloc(Math.min(fileSize, 1e6), 7))
    return { fileSize }
  }

  loadStateFromFile(path: string): Promise<void> {
    this.loaded.push(path)
    return this.#failure === undefined ? Promise.resolve() : Promise.reject(this.#failure)
  }
}

async function opened(bytesMax = 1e6, bytesPerToken = BYTES_PER_TOKEN): Promise<{ states: KvStates; dir: string }> {
  const dir = join(await temporaryDirectory(), 'kv', 'engine-1')
  const init = { dir, bytesMax, binding: 'a model', bytesPerToken }
  const states = (await KvStates.open(init, components))!
  // so slow that a file always pays
  states.prefilled(100, 1e6)
  return { states, dir }
}

async function saved(states: KvStates, of: readonly Token[], spared?: KvState): Promise<void> {
  expect(states.shouldSave(of, 0, true)).toBe(true)
  await states.save(new Holder(of.length), of, spared)
}

const files = async (dir: string): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name.endsWith('.kv')).sort()

describe('KV states', () => {
  it("are their owner's alone, and gone when closed", async () => {
    const { states, dir } = await opened()
    await saved(states, tokens(0, 200))
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    expect((await stat(dirname(dir))).mode & 0o777).toBe(0o700)
    expect((await stat(join(dir, '1.kv'))).mode & 0o777).toBe(0o600)
    expect(await files(dir)).toEqual(['1.kv'])
    await states.close()
    await expect(readdir(dir)).rejects.toThrow(/ENOENT/)
  })

  it('are nothing without a folder', async () => {
    const place = join(await temporaryDirectory(), 'file')
    await writeFile(place, 'in the way')
    const init = { dir: join(place, 'kv'), bytesMax: 1e6, binding: '', bytesPerToken: 1 }
    expect(await KvStates.open(init, components)).toBeUndefined()
  })

  it('are found by the beginning of what comes', async () => {
    const { states } = await opened()
    await saved(states, tokens(0, 200))
    await saved(states, tokens(5000, 300))
    expect(states.find(tokens(0, 400), 0, true)?.tokens).toHaveLength(200)
    expect(states.find(tokens(5000, 100), 0, true)?.tokens).toHaveLength(300)
    // a sequence has nearly all of it
    expect(states.find(tokens(0, 400), 150, true)).toBeUndefined()
    expect(states.find(tokens(0, 400), 200, true)).toBeUndefined()
    expect(states.find(tokens(9000, 400), 0, true)).toBeUndefined()
  })

  it('replace those that they go on from, and are not saved twice', async () => {
    const { states, dir } = await opened()
    await saved(states, tokens(0, 200))
    expect(states.shouldSave(tokens(0, 200), 0, true)).toBe(false)
    expect(states.shouldSave(tokens(0, 220), 0, true)).toBe(false)
    expect(states.shouldSave(tokens(5000, 220), 200, true)).toBe(false)
    await saved(states, tokens(0, 400))
    expect(states.stats).toMatchObject({ states: 1, saved: 2, bytes: 400 * BYTES_PER_TOKEN })
    expect(await files(dir)).toEqual(['2.kv'])
  })

  it('make room for each other, but for the one that is about to be taken in', async () => {
    const { states, dir } = await opened(700 * BYTES_PER_TOKEN)
    await saved(states, tokens(0, 300))
    await saved(states, tokens(5000, 300))
    const first = states.find(tokens(0, 400), 0, true)!
    await saved(states, tokens(9000, 300), first)
    expect(states.has(first)).toBe(true)
    expect(await files(dir)).toEqual(['1.kv', '3.kv'])
    await saved(states, tokens(20_000, 650), first)
    expect(states.has(first)).toBe(true)
    expect(states.stats.decisions.save).toMatchObject({ room: 1 })
    expect(states.shouldSave(tokens(30_000, 701), 0, true)).toBe(false)
  })

  it('are no more than the limit', async () => {
    const { states, dir } = await opened(1e9)
    for (let i = 0; i <= LIMITS.kvStatesMax; i++) await saved(states, tokens(1000 * i, 100))
    expect(states.stats.states).toBe(LIMITS.kvStatesMax)
    expect(await files(dir)).toHaveLength(LIMITS.kvStatesMax)
    expect(await files(dir)).not.toContain('1.kv')
  })

  it('are taken in when they are what was written, and never otherwise', async () => {
    const { states, dir } = await opened()
    const changes: ((path: string) => Promise<void>)[] = [
      async (path) => {
        const bytes = await readFile(path)
        bytes[1234]! ^= 1
        await writeFile(path, bytes)
      },
      (path) => truncate(path, 19_000),
      (path) => writeFile(path, Buffer.alloc(1), { flag: 'a' }),
    ]
    for (const [i, change] of changes.entries()) {
      await saved(states, tokens(0, 200))
      const state = states.find(tokens(0, 300), 0, true)!
      expect(await states.check(state)).toBe(true)
      await change(state.path)
      expect(await states.check(state)).toBe(false)
      expect(states.stats).toMatchObject({ refused: i + 1, states: 0 })
      expect(await files(dir)).toEqual([])
    }
    await saved(states, tokens(0, 200))
    const state = states.find(tokens(0, 300), 0, true)!
    expect(await states.check(state)).toBe(true)
    const holder = new Holder()
    await states.restore(holder, state)
    expect(holder.loaded).toEqual([state.path])
    expect(states.stats).toMatchObject({ restored: 1, states: 1 })
  })

  it('are dropped when the engine does not take them', async () => {
    const { states, dir } = await opened()
    await saved(states, tokens(0, 200))
    const state = states.find(tokens(0, 300), 0, true)!
    await states.check(state)
    const refused = states.restore(new Holder(0, new SkeinError('ENGINE_FAILED', 'no')), state)
    await expect(refused).rejects.toThrow('no')
    expect(states.stats).toMatchObject({ restored: 0, refused: 1, states: 0 })
    expect(await files(dir)).toEqual([])
  })

  it('are not tried for ever when they cannot be written', async () => {
    const { states, dir } = await opened()
    const broken = new Holder(0, new SkeinError('ENGINE_FAILED', 'no room on the device'))
    for (let i = 0; i < 3; i++) {
      expect(states.shouldSave(tokens(0, 200), 0, true)).toBe(true)
      await states.save(broken, tokens(0, 200), undefined)
    }
    expect(states.shouldSave(tokens(0, 200), 0, true)).toBe(false)
    expect(await files(dir)).toEqual([])
  })

  it('are not written nor read beside other answers when that takes too long', async () => {
    // 200 GB, months of prefill: seconds of writing and reading on any disk
    const huge = tokens(0, 200)
    const { states: written } = await opened(1e15, 1e9)
    written.prefilled(1, 1e9)
    expect(written.shouldSave(huge, 0, false)).toBe(false)
    expect(written.stats.decisions.save).toEqual({ stall: 1 })
    expect(written.shouldSave(huge, 0, true)).toBe(true)

    const { states } = await opened(1e15)
    states.prefilled(1, 1e9)
    await states.save(new Holder(2e9), huge, undefined)
    expect(states.find(tokens(0, 300), 0, false)).toBeUndefined()
    expect(states.stats.decisions.restore).toEqual({ stall: 1 })
    expect(states.find(tokens(0, 300), 0, true)).toBeDefined()
  })
})

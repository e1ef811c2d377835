/** KV states in files, by the llama engine in a process of its own: conversations that take turns at one sequence. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, SkeinError, type Prompt } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { ChildEngine, type Engine, type KvStats } from '../../node/engines/index.ts'
import { collect, request, type Answer } from '../compliance/engine.suite.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually } from '../fixtures/skein-process.ts'

const never = new AbortController().signal
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const MIB = 1024 ** 2
/** Some hundred tokens, of about 5 KB each. */
const story = (who: string): string => `${who} went down to the river, and the river ran to the sea. `.repeat(8)
const TURN = 'And then the goose said to the fox: whoever tires falls back. '

let path: string
let root: string
let engine: ChildEngine

beforeAll(async () => {
  path = await ensureModel('tiny')
  root = await mkdtemp(join(tmpdir(), 'skein-kv-'))
}, 60_000)
afterEach(() => engine.unload())
afterAll(() => rm(root, { recursive: true, force: true }))

async function load(bytesMax: number, slots = 1): Promise<void> {
  engine = new ChildEngine({ engine: 'llama' }, { log: silentLogger })
  const place = bytesMax === 0 ? {} : { kvStates: { dir: join(root, 'kv'), bytesMax } }
  await engine.load({ path, digest, slots, contextTokens: 4096, threads: 1, ...place })
}

const ask = (text: string, of: Engine = engine): Promise<Answer> => {
  const prompt: Prompt = { kind: 'text', text }
  return collect(of.generate(request({ prompt, maxTokens: 16, logprobs: 2, sampling: { ...GREEDY, seed: 1 } }), never))
}

const kv = (): KvStats => engine.stats().kv!

/** Paths of the files, once as many are there as stats tell. */
async function files(): Promise<string[]> {
  const dir = join(root, 'kv')
  const names = await readdir(dir, { recursive: true }).catch(() => [])
  return names.filter((name) => name.endsWith('.kv')).map((name) => join(dir, name))
}

async function noFiles(): Promise<void> {
  await eventually('no file is left', async () => ((await files()).length === 0 ? true : undefined))
}

describe('the KV state of a conversation', () => {
  it('is kept while another has its sequence, and goes on as if it had never left', async () => {
    await load(0)
    const undisturbed = await ask(story('A fox'))
    const expected = await ask(story('A fox') + undisturbed.text + TURN)
    expect(engine.stats().kv).toBeUndefined()
    // what is far behind has little weight in this model, and some
    const elsewhere = await ask(story('The moon') + undisturbed.text + TURN)
    expect(elsewhere.logprobs).not.toEqual(expected.logprobs)
    await engine.unload()

    await load(64 * MIB)
    const first = await ask(story('A fox'))
    await ask(story('The moon'))
    expect(kv()).toMatchObject({ saved: 1, restored: 0, states: 1 })
    const [file] = await files()
    const found = await stat(file!)
    expect(found.mode & 0o777).toBe(0o600)
    expect((await stat(join(file!, '..'))).mode & 0o777).toBe(0o700)
    expect(found.size).toBe(kv().bytes)

    const second = await ask(story('A fox') + first.text + TURN)
    expect(kv()).toMatchObject({ saved: 2, restored: 1, refused: 0 })
    // all of the first turn but what its last token computes
    expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens + first.ids.length - 2)
    expect(first.ids).toEqual(undisturbed.ids)
    expect(second.ids).toEqual(expected.ids)
    expect(second.logprobs).toEqual(expected.logprobs)
  }, 120_000)

  it('is equal to one that is prefilled, for greedy answers', async () => {
    await load(0)
    const prefilled: number[][] = []
    for (const who of ['A fox', 'The moon', 'My lamp']) prefilled.push((await ask(story(who))).ids)
    await engine.unload()
    await load(64 * MIB)
    for (const who of ['A fox', 'The moon', 'My lamp']) await ask(story(who))
    const restored: number[][] = []
    for (const who of ['A fox', 'The moon', 'My lamp']) restored.push((await ask(story(who))).ids)
    expect(kv().restored).toBe(3)
    expect(restored).toEqual(prefilled)
  }, 120_000)

  it('is refused when a byte of it was flipped, and prefilled', async () => {
    await load(64 * MIB)
    const first = await ask(story('A fox'))
    await ask(story('The moon'))
    const [file] = await files()
    // the digest of what was written is taken beside the answers: long before another one has ended
    await ask(`${story('The moon')}And so on. `)
    const handle = await open(file!, 'r+')
    const byte = Buffer.alloc(1)
    const at = Math.floor((await handle.stat()).size / 2)
    await handle.read(byte, 0, 1, at)
    await handle.write(Buffer.from([byte[0]! ^ 1]), 0, 1, at)
    await handle.close()
    const again = await ask(story('A fox'))
    expect(kv()).toMatchObject({ restored: 0, refused: 1 })
    expect(again.usage.cachedTokens).toBeLessThan(16)
    expect(again.ids).toEqual(first.ids)
    expect(await files()).not.toContain(file)
  }, 120_000)

  it('keeps to its budget: the one used longest ago goes', async () => {
    await load(64 * MIB)
    await ask(story('A fox'))
    await ask(story('The moon'))
    const each = kv().bytes
    await engine.unload()

    await load(Math.floor(2.5 * each))
    for (const who of ['A fox', 'The moon', 'My lamp', 'The town']) await ask(story(who))
    expect(kv()).toMatchObject({ saved: 3, states: 2 })
    expect(kv().bytes).toBeLessThanOrEqual(2.5 * each)
    expect(await files()).toHaveLength(2)
    await ask(story('A fox'))
    expect(kv().restored).toBe(0)
    await ask(story('My lamp'))
    expect(kv().restored).toBe(1)
    await engine.unload()

    await load(Math.floor(each / 2))
    await ask(story('A fox'))
    await ask(story('The moon'))
    expect(kv()).toMatchObject({ saved: 0, decisions: { save: { budget: 1 } } })
  }, 120_000)

  it('comes and goes beside an answer that streams, and beside one that is cancelled', async () => {
    await load(64 * MIB, 2)
    const alone = await ask(story('My lamp'))
    const fox = await ask(story('A fox'))
    const prompt: Prompt = { kind: 'text', text: story('A town') }
    const streamed = collect(engine.generate(request({ prompt, maxTokens: 400, isEndless: true }), never))
    for (const who of ['A fox', 'The moon', 'My lamp']) await ask(story(who))
    const leaving = new AbortController()
    const left = collect(engine.generate(request({ prompt: { kind: 'text', text: story('A fox') } }), leaving.signal))
    setImmediate(() => leaving.abort(new SkeinError('CLIENT_CLOSED', 'gone')))
    await expect(left).rejects.toThrow('gone')
    expect((await ask(story('A fox'))).ids).toEqual(fox.ids)
    expect((await ask(story('My lamp'))).ids).toEqual(alone.ids)
    expect((await streamed).indices).toEqual(Array.from({ length: 400 }, (_, i) => i))
    expect(kv().restored).toBeGreaterThan(0)
    expect(kv().refused).toBe(0)
  }, 120_000)

  it('does not outlive its process, however that ends', async () => {
    const two = async (): Promise<void> => {
      await load(64 * MIB)
      await ask(story('A fox'))
      await ask(story('The moon'))
      expect(await files()).toHaveLength(1)
    }
    await two()
    await engine.unload()
    expect(await files()).toHaveLength(0)

    await two()
    process.kill(engine.pid!, 'SIGKILL')
    await noFiles()
  }, 120_000)

  it('does not outlive the process that has the engine, even one that was killed', async () => {
    const script = fileURLToPath(new URL('./engine-parent.ts', import.meta.url))
    const parent = spawn(process.execPath, [script, join(root, 'kv')], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(parent.stdout, 'data')
    const folder = join(root, 'kv', 'engine-1')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, '1.kv'), 'what people said')
    parent.kill('SIGKILL')
    await noFiles()
    expect(await readdir(join(root, 'kv'))).toEqual([])
  }, 60_000)
})

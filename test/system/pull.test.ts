/** `skein pull`, `rm` and `models --local` as people and their machines treat them: real processes, killed in the middle. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { modelBytes } from '../integration/pull.harness.ts'
import { HubDouble, sha256Of } from '../integration/pull.hub.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/skein', import.meta.url))
const MIB = 1024 ** 2
/** For a process to start, and to tell of itself, on a machine that is busy. */
const PATIENCE_MS = 60_000
const ID = 'owner/model-GGUF'
const REFERENCE = `hf:${ID}`

/** Bytes in a second that keep a connection from being given up. */
const TRICKLE = 16 * 1024

let hub: HubDouble
let giving: NodeJS.Timeout | undefined
let dir: string
let data: string[]
beforeEach(async () => {
  hub = await HubDouble.start()
  dir = await mkdtemp(join(tmpdir(), 'skein-pull-'))
  data = ['--data', dir]
  process.env['HF_ENDPOINT'] = hub.endpoint
  process.env['SKEIN_KEEP_FREE'] = '0'
})
afterEach(async () => {
  clearInterval(giving)
  delete process.env['HF_ENDPOINT']
  delete process.env['SKEIN_KEEP_FREE']
  await hub.stop()
  await rm(dir, { recursive: true, force: true })
})

interface Started {
  readonly child: ChildProcess
  readonly said: () => string
}

function start(...args: string[]): Started {
  const child = spawn(process.execPath, [LAUNCHER, ...args, ...data], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  return { child, said: () => said }
}

interface PartRecord {
  readonly done: readonly (readonly [number, number])[]
}

async function keptBytes(): Promise<number> {
  const parts = join(dir, 'models', 'parts')
  const file = (await readdir(parts).catch(() => [])).find((name) => name.endsWith('.json'))
  if (file === undefined) return 0
  const { done } = JSON.parse(await readFile(join(parts, file), 'utf8')) as PartRecord
  return done.reduce((sum, [start, end]) => sum + end - start, 0)
}

const sentForReads = (): number => hub.reads.reduce((sum, { sentBytes }) => sum + sentBytes, 0)

/** Gives `bytes` quickly and then a trickle, so that what is to be ended in the middle is never done before, however slow we are. */
function giveSome(bytes: number): void {
  clearInterval(giving)
  const enough = sentForReads() + bytes
  hub.bytesPerSecond = 2 * MIB
  giving = setInterval(() => {
    if (sentForReads() >= enough) hub.bytesPerSecond = TRICKLE
  }, 5)
}

function giveAll(): void {
  clearInterval(giving)
  hub.bytesPerSecond = 0
}

async function expectStored(bytes: Buffer): Promise<void> {
  const folder = join(dir, 'models', 'blobs', `sha256-${sha256Of(bytes)}`)
  const [file] = await readdir(folder)
  expect(sha256Of(await readFile(join(folder, file!)))).toBe(sha256Of(bytes))
  expect(await readdir(join(dir, 'models', 'parts'))).toEqual([])
}

describe('a pull that is ended from outside', () => {
  it('by kill -9 goes on where its record says, and asks for the rest alone', async () => {
    const bytes = modelBytes(32 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    for (let kills = 0; kills < 2; kills++) {
      const before = await keptBytes()
      giveSome(8 * MIB)
      const { child } = start('pull', REFERENCE)
      const exit = once(child, 'exit')
      const hasMore = async (): Promise<true | undefined> => ((await keptBytes()) > before + 3 * MIB ? true : undefined)
      await eventually('some of it has come', hasMore, PATIENCE_MS)
      child.kill('SIGKILL')
      await exit
    }
    const kept = await keptBytes()
    expect(kept).toBeGreaterThan(6 * MIB)
    giveAll()
    await eventually('the answers to the killed have ended', async () => (hub.answers === 0 ? true : undefined))
    const before = sentForReads()
    const { code, stdout, stderr } = await skein(['pull', REFERENCE, ...data])
    expect(stderr).toContain('going on at')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^m-Q4_K_M {2}\(Q8_0, 32 MiB, sha256:/)])
    // what is on its way when one connection takes over from another comes twice
    expect(sentForReads() - before).toBeLessThan(bytes.length - kept + MIB)
    await expectStored(bytes)
  })

  it('by Ctrl-C says how to go on, and ends with 130', async () => {
    const bytes = modelBytes(16 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    giveSome(6 * MIB)
    const { child, said } = start('pull', REFERENCE)
    const exit = once(child, 'exit')
    await eventually('some of it has come', async () => ((await keptBytes()) > 3 * MIB ? true : undefined), PATIENCE_MS)
    child.kill('SIGINT')
    expect(await exit).toEqual([130, null])
    expect(said()).toMatch(/MiB of 16 MiB are kept; go on with: skein pull hf:owner\/model-GGUF --data /)
    const kept = await keptBytes()
    expect(kept).toBeGreaterThan(3 * MIB)
    const listed = await skein(['models', '--local', ...data])
    expect(listed.stdout).toMatch(/m-Q4_K_M +[\d.]+ MiB of 16 MiB +unfinished/)
    giveAll()
    const before = sentForReads()
    const again = await skein(['pull', REFERENCE, '--json', ...data])
    const events = again.stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>) // prettier-ignore
    expect(events.map(({ event }) => event)).toEqual(events.map(() => 'pull'))
    expect(events.map(({ state }) => state)).toEqual(expect.arrayContaining(['located', 'began', 'progress', 'done']))
    expect(events.find(({ state }) => state === 'began')).toMatchObject({ resumedBytes: kept })
    expect(events.at(-1)).toMatchObject({ state: 'done', name: 'm-Q4_K_M', digest: `sha256:${sha256Of(bytes)}` })
    expect(sentForReads() - before).toBeLessThan(bytes.length - kept + MIB)
  })

  it('by a full disk keeps what came', async () => {
    const bytes = modelBytes(12 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    const models = join(dir, 'models')
    await mkdir(models)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=13m', 'tmpfs', models])
    try {
      // whoever fills it up does so after the pull has looked
      hub.onFile = () => {
        if (hub.reads.length === 1) void writeFile(join(models, 'someone-elses'), Buffer.alloc(6 * MIB))
      }
      hub.bytesPerSecond = 8 * MIB
      const { code, stderr } = await skein(['pull', REFERENCE, ...data])
      expect([code, stderr]).toEqual([1, expect.stringMatching(/no room is left|are still needed/)])
      expect(stderr).toContain('go on with: skein pull')
      expect(await keptBytes()).toBeGreaterThan(0)
      await rm(join(models, 'someone-elses'))
      const before = sentForReads()
      const kept = await keptBytes()
      expect((await skein(['pull', REFERENCE, ...data])).code).toBe(0)
      // what is on its way when one connection takes over from another comes twice
      expect(sentForReads() - before).toBeLessThan(bytes.length - kept + MIB)
      await expectStored(bytes)
      // not a byte is left, and room can still be made
      await writeFile(join(models, 'someone-elses'), Buffer.alloc(2 * MIB)).catch(() => {})
      hub.addModel('owner/other', 'other-Q4_K_M.gguf', modelBytes(MIB, 2))
      expect((await skein(['pull', 'hf:owner/other', ...data])).stderr).toContain('no room is left')
      expect((await skein(['rm', 'm-Q4_K_M', '--yes', ...data])).stdout).toBe('m-Q4_K_M is removed\n')
      expect((await skein(['models', '--local', ...data])).stderr).toContain('the store is empty')
    } finally {
      execFileSync('umount', ['-l', models])
    }
  })
})

describe('pulls of two processes', () => {
  it('fetch one file once, though the first is killed', async () => {
    const bytes = modelBytes(16 * MIB)
    hub.addModel(ID, 'm-Q4_K_M.gguf', bytes)
    // the first must not be done before the second has started, however long that takes
    giveSome(6 * MIB)
    const first = start('pull', REFERENCE)
    await eventually('some of it has come', async () => ((await keptBytes()) > 2 * MIB ? true : undefined), PATIENCE_MS)
    const second = start('pull', REFERENCE)
    const exit = once(second.child, 'exit')
    const waits = async (): Promise<true | undefined> =>
      second.said().includes('waiting for that one') ? true : undefined
    await eventually('the second waits', waits, PATIENCE_MS)
    giveAll()
    first.child.kill('SIGKILL')
    expect(await exit).toEqual([0, null])
    expect(second.said()).toContain('going on at')
    await expectStored(bytes)
  })
})

describe('a node', () => {
  it('serves what it pulls first, then what the store has, and keeps it from being removed', async () => {
    const bytes = await readFile(await ensureModel('tiny'))
    hub.addModel(ID, 'tiny-Q8_0.gguf', bytes)
    const up = ['up', '--http', '127.0.0.1:0', '--no-mdns']
    const offline = await skein([...up, '--model', REFERENCE, '--offline', ...data])
    expect([offline.code, offline.stderr]).toEqual([2, expect.stringContaining('the store is empty')])

    const first = await SkeinProcess.start({ args: [...up, '--model', REFERENCE], dataDir: dir })
    try {
      expect(first.events.some(({ event, state }) => event === 'pull' && state === 'progress')).toBe(true)
      await first.until(({ event, state }) => event === 'model' && state === 'resident', 30_000)
      const refused = await skein(['rm', 'tiny-Q8_0', '--yes', ...data])
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('a running node serves tiny-Q8_0')])
      // the store is open to others while the node runs
      hub.addModel('owner/other', 'other-Q4_K_M.gguf', modelBytes(4000))
      expect((await skein(['pull', 'hf:owner/other', ...data])).code).toBe(0)
      expect((await skein(['rm', 'other-Q4_K_M', '--yes', ...data])).code).toBe(0)
    } finally {
      await first.stop()
    }

    await hub.stop()
    const second = await SkeinProcess.start({ args: [...up, '--offline'], dataDir: dir })
    try {
      // whoever asks as soon as it says that it is up finds it
      const models = (await (await fetch(`${second.http}/v1/models`)).json()) as { data: { id: string }[] }
      expect(models.data.map(({ id }) => id)).toContain('tiny-Q8_0')
      await second.until(({ event, state }) => event === 'model' && state === 'resident', 30_000)
    } finally {
      await second.stop()
    }
    for (const name of ['tiny-Q8_0', sha256Of(bytes).slice(0, 12)]) {
      const third = await SkeinProcess.start({ args: [...up, '--offline', '--model', name], dataDir: dir })
      await third.until(({ event, state }) => event === 'model' && state === 'resident', 30_000)
      await third.stop()
    }
    hub = await HubDouble.start()

    const silent = await skein(['rm', 'tiny-Q8_0', ...data])
    expect([silent.code, silent.stderr]).toEqual([2, expect.stringContaining('--yes')])
    const listed = await skein(['models', '--local', ...data])
    expect(listed.stdout).toMatch(/^tiny-Q8_0 .* \d+ (s|ms) ago +hf:owner\/model-GGUF:tiny-Q8_0\.gguf@a{40}$/m)
    const removed = await skein(['rm', 'tiny-Q8_0', '--yes', '--json', ...data])
    expect(JSON.parse(removed.stdout)).toEqual({
      removed: [{ name: 'tiny-Q8_0', digest: `sha256:${sha256Of(bytes)}` }],
    })
    expect((await skein(['models', '--local', ...data])).stderr).toContain('the store is empty')
  })
})

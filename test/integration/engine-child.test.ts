import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import type { SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, sleep, SystemClock } from '../../mesh/runtime/index.ts'
import { ChildEngine, echoDigest, probeDevices } from '../../node/engines/index.ts'
import { codeOf, collect, request, started } from '../compliance/engine.suite.ts'

const PATH = 'echo:?tps=200'
const LOAD = { path: PATH, digest: echoDigest(PATH), slots: 2 }
const clock = new SystemClock()
const never = new AbortController().signal

/** A zombie has ended too: its parent has not asked for its status yet. */
async function hasEnded(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return status === undefined || status.slice(status.lastIndexOf(')') + 2).startsWith('Z')
}

async function untilEnded(pid: number, withinMs: number): Promise<boolean> {
  const untilMs = clock.nowMs() + withinMs
  while (clock.nowMs() < untilMs) {
    if (await hasEnded(pid)) return true
    await sleep(clock, 20)
  }
  return false
}

describe('an engine process', () => {
  let exits: SkeinError[] = []
  let onExit = (): void => {}
  const engine = new ChildEngine(
    { engine: 'echo' },
    {
      log: silentLogger,
      onExit: (error) => {
        exits.push(error)
        onExit()
      },
    },
  )
  afterEach(async () => {
    await engine.unload()
    exits = []
  })

  it('costs its attempts when it is killed, and a new load starts another', async () => {
    await engine.load(LOAD)
    const first = engine.pid!
    const running = [await started(engine), await started(engine)]
    const codes = running.map((events) =>
      codeOf(
        (async () => {
          while (!(await events.next()).done) continue
        })(),
      ),
    )
    process.kill(first, 'SIGKILL')
    expect(await Promise.all(codes)).toEqual(['ENGINE_CRASHED', 'ENGINE_CRASHED'])
    expect(engine.pid).toBeUndefined()
    expect(exits).toHaveLength(1)
    expect(engine.stats().running).toBe(0)
    expect(await codeOf(collect(engine.generate(request(), never)))).toBe('ENGINE_CRASHED')

    await engine.load(LOAD)
    expect(engine.pid).not.toBe(first)
    expect((await collect(engine.generate(request({ maxTokens: 4 }), never))).ids).toHaveLength(4)
  }, 30_000)

  it('is what Linux ends first when memory runs out', async () => {
    await engine.load(LOAD)
    expect(Number(await readFile(`/proc/${engine.pid}/oom_score_adj`, 'utf8'))).toBe(500)
  }, 30_000)

  it('tells its death while nobody uses it', async () => {
    await engine.load(LOAD)
    const told = new Promise<void>((resolve) => (onExit = resolve))
    process.kill(engine.pid!, 'SIGKILL')
    await told
    expect(exits).toMatchObject([{ code: 'ENGINE_CRASHED', message: expect.stringContaining('SIGKILL') as string }])
    expect(engine.pid).toBeUndefined()
    await engine.load(LOAD)
    expect((await collect(engine.generate(request({ maxTokens: 4 }), never))).ids).toHaveLength(4)
  }, 30_000)

  it('fails a load whose process dies', async () => {
    const loading = codeOf(engine.load(LOAD))
    process.kill(engine.pid!, 'SIGKILL')
    expect(await loading).toBe('ENGINE_CRASHED')
    expect(exits).toHaveLength(1)
    await engine.load(LOAD)
    expect(engine.pid).toBeDefined()
  }, 30_000)

  it("outlives a terminal's Ctrl-C, which goes to the whole group", async () => {
    await engine.load(LOAD)
    const events = await started(engine, { maxTokens: 40 })
    process.kill(engine.pid!, 'SIGINT')
    let last = await events.next()
    let tokens = 0
    while (!last.done) {
      if (last.value.type === 'tokens') tokens++
      last = await events.next()
    }
    expect(tokens).toBeGreaterThan(30)
  }, 30_000)

  it('leaves nothing behind when it is unloaded', async () => {
    await engine.load(LOAD)
    const pid = engine.pid!
    await engine.unload()
    expect(await untilEnded(pid, 5000)).toBe(true)
    expect(exits, 'an end that was asked for is not told').toEqual([])
  }, 30_000)

  it('dies with its parent, even one that was killed', async () => {
    const script = fileURLToPath(new URL('./engine-parent.ts', import.meta.url))
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [output] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(output.toString())
    expect(await hasEnded(pid)).toBe(false)
    parent.kill('SIGKILL')
    expect(await untilEnded(pid, 5000)).toBe(true)
  }, 30_000)

  it('refuses an unknown label, and is then without a process', async () => {
    expect(await codeOf(engine.load({ ...LOAD, path: 'echo:?speed=3' }))).toBe('MODEL_FILE_INVALID')
    expect(engine.pid).toBeUndefined()
  }, 30_000)

  it('says which accelerators the engine sees, without a model', async () => {
    const devices = await probeDevices({ log: silentLogger })
    expect(devices.engineBuild).toMatch(/^node-llama-cpp \d/)
    expect(devices.cpuThreads).toBeGreaterThan(0)
    expect(devices.deviceNames.length > 0).toBe(devices.backend !== 'none')
  }, 60_000)
})

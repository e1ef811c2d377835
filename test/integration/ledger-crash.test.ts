/** The ledger in processes that are killed, and whose disk is full. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { durableTokens, openLedger } from '../../coordinator/ledger/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { skein } from '../fixtures/skein-process.ts'

const WRITER = fileURLToPath(new URL('./ledger-writer.ts', import.meta.url))
const components = { clock: new SystemClock(true), log: silentLogger }

describe('a process that writes to a ledger', () => {
  let directory: string
  let path: string
  let writer: ChildProcess | undefined
  const acknowledged: string[] = []

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'skein-ledger-'))
    path = join(directory, 'ledger.db')
    acknowledged.length = 0
  })
  afterEach(async () => {
    await kill()
    await rm(directory, { recursive: true })
  })
  /** Starts it, and waits until it has `count` tasks acknowledged. */
  const start = async (count: number): Promise<void> => {
    writer = spawn(process.execPath, [WRITER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = createInterface({ input: writer.stdout! })
    const enough = new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        acknowledged.push(line)
        if (acknowledged.length >= count) resolve()
      })
      writer!.once('exit', () => reject(new TypeError('the writer ended')))
    })
    await enough
  }
  const kill = async (): Promise<void> => {
    if (writer === undefined || writer.exitCode !== null || writer.signalCode !== null) return
    const closed = once(writer, 'close')
    writer.kill('SIGKILL')
    await closed
  }

  it('is killed: all that it acknowledged is there, thrice', async () => {
    for (let round = 1; round <= 3; round++) {
      const before = acknowledged.length
      await start(before + 100)
      await kill()
      const ledger = await openLedger(components, { path })
      expect(ledger.epoch).toBe(2 * round)
      const tasks = new Map((await ledger.open()).map((task) => [task.spec.taskId as string, durableTokens(task)]))
      await ledger.close()
      expect(acknowledged.length).toBeGreaterThanOrEqual(before + 100)
      for (const taskId of acknowledged) expect(tasks.get(taskId), taskId).toBe(2)
    }
  })

  it('keeps others out for as long as it lives', async () => {
    await start(1)
    await expect(openLedger(components, { path })).rejects.toMatchObject({ code: 'DATA_DIR_LOCKED' })
    await kill()
    await (await openLedger(components, { path })).close()
  })

  it('is backed up meanwhile: all that was acknowledged before is in the backup', async () => {
    await start(200)
    const before = [...acknowledged]
    const backup = join(directory, 'backup')
    const made = await skein(['backup', backup, '--data', directory, '--json'])
    expect(made.code, made.stderr).toBe(0)
    const acknowledgedAfter = acknowledged.length
    const restored = await skein(['restore', backup, '--data', join(directory, 'restored'), '--json'])
    expect(restored.code, restored.stderr).toBe(0)
    expect(acknowledgedAfter, 'the writer went on').toBeGreaterThan(before.length)
    const ledger = await openLedger(components, { path: join(directory, 'restored', 'ledger.db') })
    const tasks = await ledger.open()
    await ledger.close()
    const found = new Set<string>(tasks.map((task) => task.spec.taskId))
    for (const taskId of before) expect(found, taskId).toContain(taskId)
    expect(tasks).toHaveLength((JSON.parse(made.stdout) as { ledger: { tasks: number } }).ledger.tasks)
  })
})

/** The dead-man switch of a rented machine. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { AloneSwitch, runPowerOff } from '../../../node/worker/index.ts'
import { temporaryDirectory } from '../../fixtures/temporary.ts'

const MINUTE_MS = 60_000

/** Of a machine that slept: its timers come late. */
class SleepyClock extends ManualClock {
  sleptMs = 0

  override nowMs(): number {
    return super.nowMs() + this.sleptMs
  }
}

async function begin(init: { path?: string; clock?: ManualClock; bootMs?: number; fails?: number } = {}) {
  const clock = init.clock ?? new ManualClock()
  const path = init.path ?? join(await temporaryDirectory(), 'alone.json')
  const state = { runs: 0 }
  const bootAtMs = clock.wallMs() - clock.nowMs() - (init.bootMs ?? 3_600_000)
  const alone = new AloneSwitch(
    {
      clock,
      log: silentLogger,
      uptimeMs: () => clock.wallMs() - bootAtMs,
      powerOff: () => {
        state.runs++
        return state.runs <= (init.fails ?? 0)
          ? Promise.reject(new SkeinError('INTERNAL', 'not allowed'))
          : Promise.resolve()
      },
    },
    { path, aloneMs: 15 * MINUTE_MS },
  )
  await alone.start()
  /** By steps of the looks, since time in which the machine stood still does not count. */
  const pass = async (minutes: number): Promise<void> => {
    for (let i = 0; i < minutes * 12; i++) await clock.advance(5000)
  }
  return { alone, clock, path, state, pass }
}

describe('the dead-man switch', () => {
  it('ends the machine when no coordinator was heard for long enough', async () => {
    const { state, pass, alone } = await begin()
    await pass(14)
    expect(state.runs).toBe(0)
    await pass(1)
    expect(state.runs).toBe(1)
    await alone.stop()
  })

  it('begins anew whenever one is heard', async () => {
    const { alone, state, pass } = await begin()
    await pass(14)
    alone.heard()
    await pass(14)
    expect(state.runs).toBe(0)
    expect(alone.aloneMs).toBeLessThanOrEqual(14 * MINUTE_MS)
    await pass(2)
    expect(state.runs).toBe(1)
    await alone.stop()
  })

  it('tries again when the command fails, and when the machine is still there', async () => {
    const { state, pass, alone } = await begin({ fails: 2 })
    await pass(15)
    expect(state.runs).toBe(1)
    await pass(2)
    expect(state.runs).toBeGreaterThanOrEqual(3)
    await alone.stop()
  })

  it('counts on over starts of the worker on one boot, each of which counts a little', async () => {
    const clock = new ManualClock()
    const first = await begin({ clock })
    await first.pass(10)
    await first.alone.stop()
    await expect.poll(() => readFile(first.path, 'utf8')).toContain('"aloneMs":610000')
    const next = await begin({ clock, path: first.path })
    expect(next.alone.aloneMs).toBe(10 * MINUTE_MS + 20_000)
    await next.pass(5)
    expect(next.state.runs).toBe(1)
    await next.alone.stop()
  })

  it('fires at the start of a worker that was alone long enough before', async () => {
    const path = join(await temporaryDirectory(), 'alone.json')
    const clock = new ManualClock()
    await writeFile(path, JSON.stringify({ aloneMs: 15 * MINUTE_MS, bootAtMs: clock.wallMs() - 3_600_000 }))
    const { state, alone } = await begin({ path, clock })
    expect(state.runs).toBe(1)
    await alone.stop()
  })

  it.each([
    ['of another boot', JSON.stringify({ aloneMs: 15 * MINUTE_MS, bootAtMs: 5 })],
    ['damaged', '{"aloneMs":'],
    ['hostile', JSON.stringify({ aloneMs: 'long', bootAtMs: {} })],
  ])('takes a file that is %s for nothing', async (_, text) => {
    const path = join(await temporaryDirectory(), 'alone.json')
    await writeFile(path, text)
    const { state, alone } = await begin({ path })
    expect(state.runs).toBe(0)
    expect(alone.aloneMs).toBe(10_000)
    await alone.stop()
  })

  it('does not count time in which the machine stood still', async () => {
    const clock = new SleepyClock()
    const { alone } = await begin({ clock })
    clock.sleptMs = 60 * MINUTE_MS
    await clock.advance(5000)
    expect(alone.aloneMs).toBe(20_000)
    await alone.stop()
  })
})

describe('the command that ends a machine', () => {
  it('is a program with its arguments, which no shell reads', async () => {
    const asked: unknown[] = []
    const clock = new ManualClock()
    await runPowerOff(clock, ['systemctl', 'poweroff; rm', '$HOME'], (file, args) => {
      asked.push([file, ...args])
      return Promise.resolve('')
    })
    expect(asked).toEqual([['systemctl', 'poweroff; rm', '$HOME']])
  })

  it('is given up when it does not end', async () => {
    const clock = new ManualClock()
    const run = runPowerOff(clock, ['sleep', '9'], (_file, _args, signal) => {
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    })
    void clock.advance(30_000)
    await expect(run).rejects.toThrow(/did not end within/)
  })
})

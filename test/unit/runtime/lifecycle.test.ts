/** Parts start in order and stop in reverse, once, however the start ends. */
import { describe, expect, it } from 'vitest'
import { Lifecycle, silentLogger, type Startable } from '../../../mesh/runtime/index.ts'

function part(name: string, trace: string[], broken: 'start' | 'stop' | 'none' = 'none'): Startable {
  const step = (verb: 'start' | 'stop') => async (): Promise<void> => {
    await Promise.resolve()
    trace.push(`${verb} ${name}`)
    if (broken === verb) throw new RangeError(`${name} does not ${verb}`)
  }
  return { name, start: step('start'), stop: step('stop') }
}

describe('Lifecycle', () => {
  it('stops in reverse, and once', async () => {
    const trace: string[] = []
    const lifecycle = new Lifecycle(silentLogger)
    for (const name of ['a', 'b']) await lifecycle.start(part(name, trace))
    await Promise.all([lifecycle.stop(), lifecycle.stop()])
    await lifecycle.stop()
    expect(trace).toEqual(['start a', 'start b', 'stop b', 'stop a'])
  })

  it('stops what had started when a part does not start, that part too, and says why', async () => {
    const trace: string[] = []
    const lifecycle = new Lifecycle(silentLogger)
    await lifecycle.start(part('a', trace))
    await expect(lifecycle.start(part('b', trace, 'start'))).rejects.toThrow('b does not start')
    expect(trace).toEqual(['start a', 'start b', 'stop b', 'stop a'])
  })

  it('stops the rest when a part does not stop', async () => {
    const trace: string[] = []
    const lifecycle = new Lifecycle(silentLogger)
    await lifecycle.start(part('a', trace))
    await lifecycle.start(part('b', trace, 'stop'))
    await lifecycle.stop()
    expect(trace).toEqual(['start a', 'start b', 'stop b', 'stop a'])
  })

  it('starts nothing any more once it was told to stop', async () => {
    const trace: string[] = []
    const lifecycle = new Lifecycle(silentLogger)
    await lifecycle.stop()
    await expect(lifecycle.start(part('a', trace))).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    expect(trace).toEqual([])
  })

  it('stops a part whose start was under way when it was told to stop', async () => {
    const trace: string[] = []
    const lifecycle = new Lifecycle(silentLogger)
    const starting = lifecycle.start(part('a', trace))
    await lifecycle.stop()
    await expect(starting).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    expect(trace.at(-1)).toBe('stop a')
  })
})

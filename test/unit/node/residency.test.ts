/** Which models are in memory: what is loaded at the start, what makes room for what is asked for, and what is refused. */
import { describe, expect, it } from 'vitest'
import { asModelDigest, type SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import type { ModelFile } from '../../../node/models/inventory.ts'
import { Residency } from '../../../node/models/residency.ts'

const GIB = 1024 ** 3

type State = 'disk' | 'loading' | 'resident'

class FakeHost {
  residency: State = 'disk'
  running = 0
  lastUsedMs = 0
  failure: SkeinError | undefined
  refused: SkeinError | undefined
  rests = 0
  /** Times that it was to rest, whether it did or not. */
  asked = 0
  readonly file: ModelFile
  readonly #machine: Machine

  constructor(machine: Machine, name: string, gib: number, engine: ModelFile['engine'] = 'llama') {
    this.#machine = machine
    this.file = {
      engine,
      path: `/${name}`,
      digest: asModelDigest(`sha256:${'a'.repeat(64)}`),
      aliases: [name],
      sizeBytes: gib * GIB,
      contextTokens: 1,
      parameters: 1,
      quantization: 'Q8_0',
      hasChatTemplate: true,
      sampling: {},
    }
  }

  get memoryBytes(): number {
    return this.residency === 'resident' ? this.file.sizeBytes : 0
  }

  start(): void {
    this.residency = 'loading'
  }

  loaded(): void {
    this.residency = 'resident'
    this.#machine.residency.changed()
  }

  refuse(error: SkeinError): void {
    this.refused = error
  }

  async rest(): Promise<boolean> {
    this.asked++
    if (this.running > 0 || this.residency !== 'resident') return false
    this.rests++
    this.residency = 'disk'
    return true
  }
}

/** 8.5 GiB of memory, of which half a GiB is left alone; mapped files count as free, as the system has it. */
class Machine {
  readonly clock = new ManualClock()
  freeGib = 8.5
  readonly residency = new Residency({
    clock: this.clock,
    log: silentLogger,
    memoryFreeBytes: () => this.freeGib * GIB,
  })

  add(name: string, gib: number, engine?: ModelFile['engine']): FakeHost {
    const host = new FakeHost(this, name, gib, engine)
    this.residency.add(host)
    return host
  }

  async settle(): Promise<void> {
    for (let turns = 0; turns < 20; turns++) await this.clock.advance(0)
  }
}

describe('residency', () => {
  it('loads at the start what fits beside what is loaded and being loaded, and leaves the rest on the disk', () => {
    const machine = new Machine()
    const [small, middle, large, other] = [1, 3, 5, 2].map((gib, i) => machine.add(`m${i}`, gib))
    expect([small, middle, large, other].map((host) => host!.residency)).toEqual([
      'loading',
      'loading',
      'disk',
      'loading',
    ])
  })

  it('tries a model that is alone, however large: its engine knows better', () => {
    expect(new Machine().add('huge', 64).residency).toBe('loading')
  })

  it('makes room for what is asked for by unloading what was used longest ago', async () => {
    const machine = new Machine()
    const [a, b] = [machine.add('a', 3), machine.add('b', 3)]
    for (const host of [a, b]) host.loaded()
    const c = machine.add('c', 4)
    a.lastUsedMs = 50
    b.lastUsedMs = 20
    machine.residency.wanted(c)
    await machine.settle()
    expect([a.rests, b.rests, c.residency]).toEqual([0, 1, 'loading'])
  })

  it('takes nothing from who is at work: it waits, and goes on as soon as one has nothing to do', async () => {
    const machine = new Machine()
    const a = machine.add('a', 6)
    a.loaded()
    a.running = 1
    const b = machine.add('b', 6)
    machine.residency.wanted(b)
    await machine.settle()
    expect([a.asked, b.residency]).toEqual([0, 'disk'])
    a.running = 0
    machine.residency.idle(a)
    await machine.settle()
    expect([a.rests, b.residency, b.refused]).toEqual([1, 'loading', undefined])
  })

  it('refuses with the numbers when nothing becomes free in time', async () => {
    const machine = new Machine()
    const a = machine.add('a', 6)
    a.loaded()
    a.running = 1
    const b = machine.add('b', 6)
    machine.residency.wanted(b)
    await machine.settle()
    await machine.clock.advance(20_000)
    await machine.settle()
    expect(b.refused).toMatchObject({ code: 'NO_FREE_SLOT' })
    expect(b.refused!.message).toBe('b needs some 6400 MiB of memory, 2048 MiB are free beside a, which is in use')
    expect(b.residency).toBe('disk')
  })

  it('makes room for one at a time', async () => {
    const machine = new Machine()
    const a = machine.add('a', 6)
    a.loaded()
    const [b, c] = [machine.add('b', 5), machine.add('c', 5)]
    machine.residency.wanted(b)
    machine.residency.wanted(c)
    machine.residency.wanted(b)
    await machine.settle()
    expect([a.residency, b.residency, c.residency]).toEqual(['disk', 'loading', 'disk'])
    b.loaded()
    await machine.settle()
    expect([b.residency, c.residency]).toEqual(['disk', 'loading'])
  })

  it('learns what a model took, and asks for that much the next time', async () => {
    const machine = new Machine()
    const a = machine.add('a', 2)
    a.loaded()
    Object.defineProperty(a, 'memoryBytes', { get: () => 7 * GIB })
    machine.residency.idle(a)
    a.residency = 'disk'
    const b = machine.add('b', 2)
    b.loaded()
    machine.residency.wanted(a)
    await machine.settle()
    expect([b.rests, a.residency]).toEqual([1, 'loading'])
  })

  it('leaves quick small ones on the disk until somebody asks, and puts them back when nobody does for ten minutes', async () => {
    const machine = new Machine()
    const graph = machine.add('graph', 0.01, 'onnx')
    expect(graph.residency).toBe('disk')
    machine.residency.wanted(graph)
    await machine.settle()
    expect(graph.residency).toBe('loading')
    graph.loaded()
    machine.residency.idle(graph)
    await machine.clock.advance(500_000)
    machine.residency.idle(graph)
    await machine.clock.advance(500_000)
    expect(graph.residency).toBe('resident')
    await machine.clock.advance(100_001)
    expect(graph.residency).toBe('disk')
  })

  it('loads for an order what fits, or fits in the place of what was not used for ten minutes', async () => {
    const machine = new Machine()
    const [a, b] = [machine.add('a', 3), machine.add('b', 3)]
    for (const host of [a, b]) host.loaded()
    const small = machine.add('small', 1)
    small.residency = 'disk'
    await machine.residency.ordered(small)
    expect(small.residency).toBe('loading')
    small.residency = 'disk'
    const c = machine.add('c', 4)
    await machine.clock.advance(600_000)
    a.lastUsedMs = 1
    await expect(machine.residency.ordered(c)).rejects.toMatchObject({ code: 'NO_FREE_SLOT' })
    await machine.clock.advance(2)
    a.lastUsedMs = 500_000
    await machine.residency.ordered(c)
    expect([a.rests, b.rests, c.residency, c.refused]).toEqual([0, 1, 'loading', undefined])
  })

  it('unloads nothing for an order that it could not carry out all the same, nor what is at work', async () => {
    const machine = new Machine()
    const [a, b] = [machine.add('a', 2), machine.add('b', 3)]
    for (const host of [a, b]) host.loaded()
    const c = machine.add('c', 7)
    c.residency = 'disk'
    b.running = 1
    await machine.clock.advance(700_000)
    await expect(machine.residency.ordered(c)).rejects.toThrow(
      'c needs some 7424 MiB of memory, 3072 MiB are free beside a, b',
    )
    expect([a.asked, b.asked, c.residency]).toEqual([0, 0, 'disk'])
    await machine.residency.ordered(b)
    expect(b.residency).toBe('resident')
    machine.residency.stop()
    await expect(machine.residency.ordered(c)).rejects.toMatchObject({ code: 'NODE_DRAINING' })
  })

  it('leaves a model that rests at first on the disk, whatever is free', () => {
    const machine = new Machine()
    const host = new FakeHost(machine, 'resting', 1)
    Object.assign(host.file, { restsAtFirst: true })
    machine.residency.add(host)
    expect(host.residency).toBe('disk')
  })

  it('does nothing any more for a model that is gone, nor after its end', async () => {
    const machine = new Machine()
    const graph = machine.add('graph', 0.01, 'onnx')
    machine.residency.remove(graph)
    machine.residency.wanted(graph)
    await machine.settle()
    expect(graph.residency).toBe('disk')
    const other = machine.add('other', 0.01, 'onnx')
    machine.residency.stop()
    machine.residency.wanted(other)
    await machine.settle()
    expect(other.residency).toBe('disk')
  })
})

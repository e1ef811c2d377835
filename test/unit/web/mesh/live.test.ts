/** The live picture over a gateway that is made by hand: what is asked for, when, and what becomes of it. */
import { signal } from '@preact/signals'
import { describe, expect, it } from 'vitest'
import { SkeinApiError } from '../../../../clients/sdk/index.ts'
import { LiveMesh, POLL_MS } from '../../../../clients/web/mesh/live.ts'
import { openTasks, type MeshEvent } from '../../../../clients/web/mesh/model.ts'
import type { MeshGateway, Reach } from '../../../../clients/web/mesh/ports.ts'
import { pull, type PullProgress } from '../../../../clients/web/mesh/pull.ts'
import { isPullable } from '../../../../clients/web/mesh/pull.ts'

/** Time that is moved by hand. */
class HandClock {
  #nowMs = 1_000_000
  #timers: { atMs: number; run: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run }
    this.#timers.push(timer)
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer))
  }

  /** What is due runs, and what follows from it at once, too. */
  async pass(ms: number): Promise<void> {
    this.#nowMs += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs)
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs)
    for (const { run } of due) run()
    await settled()
  }
}

/** All promises that can resolve have. */
async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

class HandGateway implements MeshGateway {
  readonly state = signal<Reach>('online')
  readonly asked: string[] = []
  readonly answers = new Map<string, unknown>([
    ['/mesh/v1/self', { clockMs: 1_005_000 }],
    ['/mesh/v1/nodes', { data: [{ peerId: 'a', name: 'desk', state: 'ready', eligible: true }] }],
    ['/mesh/v1/models', { data: [] }],
    ['/mesh/v1/replicas', { data: [] }],
    ['/mesh/v1/devices', { data: [] }],
  ])
  open: unknown[] = []
  recent: unknown[] = []
  failure: Error | undefined
  body = ''
  tell: (event: MeshEvent) => void = () => {}
  readonly events = {
    subscribe: (_types: readonly string[], onEvent: (event: MeshEvent) => void) => {
      this.tell = onEvent
      return () => void (this.tell = () => {})
    },
  }

  get<T>(path: string): Promise<T> {
    this.asked.push(path)
    if (this.failure !== undefined) return Promise.reject(this.failure)
    const tasks = path.startsWith('/mesh/v1/tasks?')
      ? { data: path.includes('open=true') ? this.open : this.recent }
      : undefined
    const answer = tasks ?? this.answers.get(path)
    if (answer === undefined)
      return Promise.reject(new SkeinApiError('no such thing', { code: 'not_found', status: 404 }))
    return Promise.resolve(answer as T)
  }

  send<T>(): Promise<T> {
    return Promise.reject(new SkeinApiError('nothing is sent here', { code: 'internal' }))
  }

  request(): Promise<Response> {
    return Promise.resolve(new Response(this.body))
  }

  times(path: string): number {
    return this.asked.filter((asked) => asked.startsWith(path)).length
  }
}

function made(isVisible: () => boolean = () => true) {
  const gateway = new HandGateway()
  const clock = new HandClock()
  let shown: (isVisible: boolean) => void = () => {}
  const visibility = { isVisible, onVisibility: (run: (isVisible: boolean) => void) => ((shown = run), () => {}) }
  const live = new LiveMesh({ gateway, clock, visibility })
  return { gateway, clock, live, show: () => shown(true) }
}

const queued = {
  taskId: 'task_a',
  model: 'tiny',
  state: 'queued',
  admittedAtMs: 1_005_000,
  attempts: 0,
  tokens: 0,
  tenant: 'local',
}

describe('the live picture', () => {
  it('asks for all once, then for what no event tells, and for nothing once nobody looks', async () => {
    const { gateway, clock, live } = made()
    const stop = live.watch()
    await settled()
    expect(live.isLoaded.value).toBe(true)
    expect([...live.state.value.nodes.keys()]).toEqual(['a'])
    expect([
      gateway.times('/mesh/v1/nodes'),
      gateway.times('/mesh/v1/models'),
      gateway.times('/mesh/v1/tasks'),
    ]).toEqual([1, 1, 2])
    await clock.pass(POLL_MS)
    expect([
      gateway.times('/mesh/v1/nodes'),
      gateway.times('/mesh/v1/models'),
      gateway.times('/mesh/v1/tasks'),
    ]).toEqual([2, 1, 3])
    stop()
    stop()
    await clock.pass(60_000)
    expect(gateway.times('/mesh/v1/nodes')).toBe(2)
  })

  it('has the clock of the coordinator', async () => {
    const { live } = made()
    live.watch()
    await settled()
    expect(live.nowMs()).toBe(1_005_000)
  })

  it('asks for nothing while it cannot be seen, and for all when it can again', async () => {
    let isVisible = true
    const { gateway, clock, live, show } = made(() => isVisible)
    live.watch()
    await settled()
    isVisible = false
    await clock.pass(POLL_MS)
    await clock.pass(POLL_MS)
    expect(gateway.times('/mesh/v1/nodes')).toBe(1)
    isVisible = true
    show()
    await clock.pass(POLL_MS)
    expect([gateway.times('/mesh/v1/nodes'), gateway.times('/mesh/v1/models')]).toEqual([2, 2])
  })

  it('shows an event at once, and asks anew after a gap: one that ended meanwhile is gone', async () => {
    const { gateway, clock, live } = made()
    live.watch()
    await settled()
    gateway.tell({
      type: 'task.queued',
      atMs: 1_005_000,
      taskId: 'task_a',
      key: 'local',
      model: 'tiny',
      priority: 'default',
    })
    expect(openTasks(live.state.value)).toHaveLength(1)
    gateway.recent = [{ ...queued, state: 'completed', endedAtMs: 1_006_000, tokens: 9 }]
    gateway.tell({ type: 'events.missed', atMs: 1_006_000 })
    await clock.pass(POLL_MS)
    expect(openTasks(live.state.value)).toEqual([])
    expect(live.state.value.tasks.get('task_a')).toMatchObject({ state: 'completed', tokens: 9 })
  })

  it('asks for all when the coordinator is back', async () => {
    const { gateway, clock, live } = made()
    live.watch()
    await settled()
    gateway.failure = new SkeinApiError('nobody answers', { code: 'unreachable' })
    gateway.state.value = 'offline'
    await clock.pass(POLL_MS)
    expect(live.problem.value).toBe('offline')
    expect(live.state.value.nodes.size).toBe(1)
    gateway.failure = undefined
    gateway.state.value = 'online'
    await clock.pass(POLL_MS)
    expect(live.problem.value).toBe('')
    expect(gateway.times('/mesh/v1/models')).toBe(2)
  })

  it.each([
    [401, 'key-needed'],
    [403, 'forbidden'],
    [500, 'failed'],
  ])('says why there is no picture: %i', async (status, problem) => {
    const { gateway, live } = made()
    gateway.failure = new SkeinApiError('no', { code: 'no', status })
    live.watch()
    await settled()
    expect([live.problem.value, live.isLoaded.value]).toEqual([problem, false])
  })

  it('is whole for a key that may not see devices', async () => {
    const { gateway, live } = made()
    gateway.answers.delete('/mesh/v1/devices')
    live.watch()
    await settled()
    expect([live.problem.value, live.extras.value.devices]).toEqual(['', []])
  })

  it('asks once how a task moved before it looked', async () => {
    const { gateway, clock, live } = made()
    gateway.open = [{ ...queued, state: 'running', attempts: 2, node: { peerId: 'b', name: 'attic' } }]
    const attempt = (n: number, name: string) => ({
      attempt: n,
      atMs: n * 100,
      node: { peerId: name, name },
      reason: 'drain',
      from: 0,
    })
    gateway.answers.set('/mesh/v1/tasks/task_a/explain', { attempts: [attempt(1, 'desk'), attempt(2, 'attic')] })
    live.watch()
    await settled()
    await clock.pass(POLL_MS)
    expect(live.state.value.tasks.get('task_a')!.bars.map(({ node }) => node.name)).toEqual(['desk', 'attic'])
    expect(gateway.times('/mesh/v1/tasks/task_a/explain')).toBe(1)
  })
})

describe('a pull', () => {
  const lines = (...all: object[]): string => all.map((line) => `${JSON.stringify(line)}\n`).join('')
  const pulled = async (body: string) => {
    const gateway = new HandGateway()
    gateway.body = body
    const seen: PullProgress[] = []
    const name = await pull(gateway, 'hf:o/r', (progress) => seen.push(progress), new AbortController().signal)
    return { name, seen }
  }

  it('tells how far it is, and the name under which the model answers', async () => {
    const { name, seen } = await pulled(
      lines(
        { status: 'pulling manifest' },
        { status: 'pulling 0123', total: 100, completed: 40 },
        { status: 'pulling 0123', total: 100, completed: 4000 },
        { status: 'serving tiny' },
        { status: 'success' },
      ),
    )
    expect(name).toBe('tiny')
    expect(seen).toEqual([
      { status: 'pulling manifest' },
      { status: 'pulling 0123', total: 100, completed: 40 },
      { status: 'pulling 0123', total: 100, completed: 100 },
      { status: 'serving tiny' },
    ])
  })

  it('fails by what a line says, by what is no line, and by an end before the end', async () => {
    await expect(pulled(lines({ status: 'pulling manifest' }, { error: 'no such repository' }))).rejects.toThrow(
      'no such repository',
    )
    await expect(pulled('<html>')).rejects.toMatchObject({ code: 'protocol' })
    await expect(pulled(lines({ status: 'pulling manifest' }))).rejects.toMatchObject({ code: 'pull_cut' })
    await expect(pulled('x'.repeat(100_000))).rejects.toMatchObject({ code: 'protocol' })
  })

  it('takes names of the hub and of the mesh, and neither paths nor addresses', () => {
    expect(['hf:o/r', 'hf:o/r:Q4_K_M', 'hf.co/o/r@main', 'skein-tiny', 'llama3.2:1b'].map(isPullable)).not.toContain(
      false,
    )
    expect(['', '/etc/passwd', '../x', 'https://example.org/m.gguf', 'hf:o', 'a b'].map(isPullable)).not.toContain(true)
  })
})

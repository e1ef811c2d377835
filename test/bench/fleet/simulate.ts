/**
 * One trace through the fleet under one policy. The coordinator sees what it would see: load reports every 250 ms, tokens
 * a link's time after they were made, and `NodeEntry` keeps its books for every policy alike. Tasks that find no place
 * wait in one line, in their order.
 */
import { NodeEntry, type NodeAttempt } from '../../../coordinator/directory/index.ts'
import { LIMITS, asPeerId } from '../../../mesh/protocol/index.ts'
import { EngineModel, type Job } from './engine-model.ts'
import { DIGEST, FLEET, recordOf } from './machines.ts'
import type { Request, Trace } from './traces.ts'

export interface SimNode {
  readonly entry: NodeEntry
  readonly engine: EngineModel
}

export interface Task {
  readonly request: Request
  readonly arrivedMs: number
  /** Filled when it is over. */
  firstTokenMs: number
  endMs: number
}

/** Where a task goes now; `undefined`: it waits. */
export type Choice = { readonly node: SimNode; readonly prefillTokens: number; readonly decodeTokens: number }

export interface Policy {
  readonly name: string
  /** Looks at the line from its head on and answers for each task; `'stop'` when nobody behind can start either. */
  choose(task: Task, nodes: readonly SimNode[], nowMs: number): Choice | 'wait' | 'stop'
  /** A walk along the line begins. */
  begin?(): void
  ended?(task: Task, node: SimNode): void
}

interface Running {
  readonly task: Task
  readonly node: SimNode
  readonly job: Job
  readonly attempt: NodeAttempt
  /** Tokens that the coordinator was told of. */
  told: number
}

interface Event {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

class Agenda {
  readonly #heap: Event[] = []
  #order = 0
  nowMs = 0

  at(atMs: number, run: () => void): void {
    const heap = this.#heap
    let i = heap.push({ atMs, order: this.#order++, run }) - 1
    for (let up = (i - 1) >> 1; i > 0 && isBefore(heap[i]!, heap[up]!); i = up, up = (i - 1) >> 1) swap(heap, i, up)
  }

  next(): boolean {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined) return false
    const last = heap.pop()!
    if (heap.length > 0) {
      heap[0] = last
      for (let i = 0; ;) {
        let least = i
        for (const child of [2 * i + 1, 2 * i + 2])
          if (child < heap.length && isBefore(heap[child]!, heap[least]!)) least = child
        if (least === i) break
        swap(heap, i, least)
        i = least
      }
    }
    this.nowMs = first.atMs
    first.run()
    return true
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
const swap = (heap: Event[], i: number, j: number): void => void ([heap[i], heap[j]] = [heap[j]!, heap[i]!])

class Simulation {
  readonly #agenda = new Agenda()
  readonly #policy: Policy
  readonly #nodes: readonly SimNode[]
  readonly #running = new Map<Job, Running>()
  readonly #wakes = new Map<SimNode, number>()
  #line: Task[] = []
  #open = 0
  #sequence = 1

  constructor(policy: Policy) {
    this.#policy = policy
    this.#nodes = FLEET.map((machine, i) => {
      const entry = new NodeEntry(asPeerId(machine.name), false)
      entry.beginSession(i + 1, 0)
      entry.setRecord(recordOf(machine, machine.loadMs === 0 ? 'resident' : 'disk', 1), 0)
      entry.addLink(machine.linkMs)
      return { entry, engine: new EngineModel(machine) }
    })
  }

  run(trace: Trace, stretch: number): Task[] {
    const tasks = trace.requests.map((request) => ({
      request,
      arrivedMs: request.atMs * stretch,
      firstTokenMs: -1,
      endMs: -1,
    }))
    this.#open = tasks.length
    for (const task of tasks)
      this.#agenda.at(task.arrivedMs, () => {
        this.#line.push(task)
        this.#walk()
      })
    for (const [i, node] of this.#nodes.entries())
      this.#agenda.at((LIMITS.loadReportIntervalMs * i) / this.#nodes.length, () => this.#report(node))
    while (this.#open > 0 && this.#agenda.next());
    return tasks
  }

  #walk(): void {
    this.#policy.begin?.()
    const nowMs = this.#agenda.nowMs
    const waiting: Task[] = []
    for (const [i, task] of this.#line.entries()) {
      const choice = this.#policy.choose(task, this.#nodes, nowMs)
      if (choice === 'stop') {
        waiting.push(...this.#line.slice(i))
        break
      }
      if (choice === 'wait') waiting.push(task)
      else this.#start(task, choice)
    }
    this.#line = waiting
  }

  #start(task: Task, { node, prefillTokens, decodeTokens }: Choice): void {
    const { entry, engine } = node
    const { machine } = engine
    const attempt = entry.begin(DIGEST, { prefillTokens, decodeTokens }, this.#agenda.nowMs)
    this.#agenda.at(this.#agenda.nowMs + machine.linkMs / 2, () => {
      this.#settle(node)
      const wasOnDisk = engine.residentAtMs === undefined
      const job = engine.add(task.request, this.#agenda.nowMs)
      this.#running.set(job, { task, node, job, attempt, told: 0 })
      if (wasOnDisk) this.#loading(node)
      this.#wake(node)
    })
  }

  #loading({ entry, engine }: SimNode): void {
    const announce = (residency: 'loading' | 'resident', atMs: number): void =>
      this.#agenda.at(atMs + engine.machine.linkMs / 2, () =>
        entry.setRecord(recordOf(engine.machine, residency, ++this.#sequence), this.#agenda.nowMs),
      )
    announce('loading', this.#agenda.nowMs)
    announce('resident', engine.residentAtMs!)
  }

  /** Wakes the node at its next event; an earlier wake-up is void. */
  #wake(node: SimNode): void {
    const number = (this.#wakes.get(node) ?? 0) + 1
    this.#wakes.set(node, number)
    const atMs = node.engine.nextMs()
    if (!Number.isFinite(atMs)) return
    this.#agenda.at(atMs, () => {
      if (this.#wakes.get(node) !== number) return
      this.#settle(node)
      this.#wake(node)
    })
  }

  /** Moves the node to the present and tells the coordinator what happened, a link's time later. */
  #settle(node: SimNode): void {
    const { began, ended } = node.engine.advance(this.#agenda.nowMs)
    const told = this.#agenda.nowMs + node.engine.machine.linkMs / 2
    for (const job of began) this.#agenda.at(told, () => this.#firstToken(this.#running.get(job)!))
    for (const job of ended) this.#agenda.at(told, () => this.#end(this.#running.get(job)!))
  }

  #firstToken(running: Running): void {
    running.task.firstTokenMs = this.#agenda.nowMs
    this.#progress(running, 1)
  }

  #progress(running: Running, tokens: number): void {
    if (tokens <= running.told) return
    running.attempt.progress(tokens - running.told, this.#agenda.nowMs)
    running.told = tokens
  }

  #end(running: Running): void {
    const { task, node, job, attempt } = running
    const { request } = task
    this.#progress(running, request.answer.tokens)
    this.#running.delete(job)
    attempt.end(this.#agenda.nowMs)
    node.entry.learn(DIGEST, attempt.sample(request.promptTokens - job.cachedTokens))
    node.entry.remember(DIGEST, request.prefixWithAnswer)
    node.entry.addSuccess()
    task.endMs = this.#agenda.nowMs
    this.#open--
    this.#policy.ended?.(task, node)
    this.#walk()
  }

  #report(node: SimNode): void {
    this.#settle(node)
    this.#wake(node)
    const { entry, engine } = node
    const { jobs, prefillTokensPending, machine } = engine
    const models = [{ digest: DIGEST, running: jobs.length, prefillTokensPending: Math.round(prefillTokensPending) }]
    const tokens = jobs.map((job) => [job, Math.floor(job.request.answer.tokens - job.decodeLeft)] as const)
    this.#agenda.at(this.#agenda.nowMs + machine.linkMs / 2, () => {
      const sequence = ++this.#sequence
      entry.setLoad({ sequence, models, memoryFreeBytes: 1, cordoned: false, draining: false }, this.#agenda.nowMs)
      for (const [job, count] of tokens) {
        const running = this.#running.get(job)
        if (running !== undefined && running.task.firstTokenMs >= 0) this.#progress(running, count)
      }
    })
    this.#agenda.at(this.#agenda.nowMs + LIMITS.loadReportIntervalMs, () => this.#report(node))
  }
}

/** @param stretch by which the trace's times are multiplied. */
export const simulate = (trace: Trace, stretch: number, policy: Policy): Task[] =>
  new Simulation(policy).run(trace, stretch)

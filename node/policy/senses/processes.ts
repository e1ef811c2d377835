/**
 * Which processes are ours, and what processors do for others. Linux alone tells both cheaply (`/proc`); elsewhere it is
 * not known who others are, and nothing is claimed.
 */
import { readdir, readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import type { WatchOthers } from '../../capability/index.ts'
import type { Known } from './senses.ts'

const PROC_DIR = '/proc'
/** A process of ours has an engine for each model, and those have no children. */
const OWN_MAX = 4096
/** The kernel's unit of `utime` and `stime` in `/proc/<pid>/stat`: USER_HZ, 100 on every Linux that Node runs on. */
const TICK_MS = 10
/** Weight of the newest reading: what lasts a moment, as a page that opens, is not yet use. */
const NEWEST_WEIGHT = 0.4

export interface CpuFacts {
  /** Ms that all processors were busy and existed, since the start of the machine. */
  readonly busyMs: number
  readonly wholeMs: number
  /** Ms of processors that each process of ours has taken, by its id. */
  readonly own: ReadonlyMap<number, number>
}

/** Ids of this process and all below it; `undefined` where the system does not tell. */
export async function ownProcesses(root: number = process.pid, dir = PROC_DIR): Promise<Set<number> | undefined> {
  const own = new Set([root])
  for (const pid of own) {
    try {
      for (const child of await childrenOf(pid, dir)) if (own.size < OWN_MAX) own.add(child)
    } catch {
      // A child that has ended meanwhile; of the root: no `/proc`, or one without `children`.
      if (pid === root) return undefined
    }
  }
  return own
}

/** Of all its threads: each knows those that it has started. */
async function childrenOf(pid: number, dir: string): Promise<number[]> {
  const tasks = await readdir(`${dir}/${pid}/task`)
  const texts = await Promise.all(tasks.map((task) => readFile(`${dir}/${pid}/task/${task}/children`, 'utf8')))
  return texts.flatMap((text) => text.split(' ').filter((child) => child.trim() !== '')).map(Number)
}

/** `undefined` where the system does not tell. */
export async function readCpuFacts(root?: number, dir = PROC_DIR): Promise<CpuFacts | undefined> {
  const pids = await ownProcesses(root, dir)
  if (pids === undefined) return undefined
  let busyMs = 0
  let idleMs = 0
  for (const { times } of cpus()) {
    busyMs += times.user + times.nice + times.sys + times.irq
    idleMs += times.idle
  }
  const own = new Map<number, number>()
  for (const pid of pids) {
    const ms = await processMs(pid, dir)
    if (ms !== undefined) own.set(pid, ms)
  }
  return { busyMs, wholeMs: busyMs + idleMs, own }
}

/** Fields 14 and 15 of its `stat`; the name, field 2, may hold blanks and brackets. */
async function processMs(pid: number, dir: string): Promise<number | undefined> {
  try {
    const text = await readFile(`${dir}/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ms = (Number(fields[11]) + Number(fields[12])) * TICK_MS
    return Number.isFinite(ms) ? ms : undefined
  } catch {
    return undefined
  }
}

/** The share of others between readings, smoothed. */
export class CpuMeter {
  #last: CpuFacts | undefined
  #percent: Known<number> = 'unknown'

  /** @param facts of now; the first reading tells nothing yet. */
  add(facts: CpuFacts | undefined): Known<number> {
    const last = this.#last
    this.#last = facts
    if (facts === undefined || last === undefined) return (this.#percent = 'unknown')
    const wholeMs = facts.wholeMs - last.wholeMs
    if (wholeMs <= 0) return this.#percent
    let ownMs = 0
    // A process that is new has done all that it did in between.
    for (const [pid, ms] of facts.own) ownMs += Math.max(0, ms - (last.own.get(pid) ?? 0))
    const others = Math.max(0, facts.busyMs - last.busyMs - ownMs)
    const percent = Math.min(100, (100 * others) / wholeMs)
    const before = this.#percent
    return (this.#percent = before === 'unknown' ? percent : before + NEWEST_WEIGHT * (percent - before))
  }
}

/** What others take of this machine's processors, for `node/capability`. */
export const watchOthers: WatchOthers = async () => {
  const meter = new CpuMeter()
  meter.add(await readCpuFacts())
  return async () => {
    const percent = meter.add(await readCpuFacts())
    return percent === 'unknown' ? undefined : percent / 100
  }
}

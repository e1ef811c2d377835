/** What a process and all that it has started take, from Linux's `/proc`. */
import { readdir, readFile } from 'node:fs/promises'

export interface Taken {
  /** Computing since each began, in ms. */
  readonly cpuMs: number
  /** Resident, in MB; what processes share counts for each. */
  readonly residentMb: number
}

const TICK_MS = 10

/** @param pid of the process at the top. */
export async function takenBy(pid: number): Promise<Taken> {
  const parents = new Map<number, number>()
  const cpuMs = new Map<number, number>()
  for (const name of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    // it may have ended meanwhile
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined)
    if (stat === undefined) continue
    // behind the name, which may have spaces: state, parent, …, and as 12th and 13th the ticks in user and kernel
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    parents.set(Number(name), Number(fields[1]))
    cpuMs.set(Number(name), TICK_MS * (Number(fields[11]) + Number(fields[12])))
  }
  let sum = 0
  let residentMb = 0
  for (const each of parents.keys()) {
    let at: number | undefined = each
    while (at !== undefined && at !== pid) at = parents.get(at)
    if (at !== pid) continue
    sum += cpuMs.get(each)!
    const status = await readFile(`/proc/${each}/status`, 'utf8').catch(() => '')
    residentMb += Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
  }
  return { cpuMs: sum, residentMb }
}

/** Signals for a machine's worth of processes: a node, and the engines that it started. Linux only, by `/proc`. */
import { readFile } from 'node:fs/promises'

/** Ids of `pid` and of all that descend from it, parents first. Empty when it is gone. */
export async function processTree(pid: number): Promise<number[]> {
  const listed = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => undefined)
  if (listed === undefined) return []
  const children = listed.split(' ').filter(Boolean).map(Number)
  return [pid, ...(await Promise.all(children.map(processTree))).flat()]
}

/** Ids of the engine processes that `pid` started. */
export async function enginesOf(pid: number): Promise<number[]> {
  const found: number[] = []
  for (const each of await processTree(pid)) {
    const command = await readFile(`/proc/${each}/cmdline`, 'utf8').catch(() => '')
    if (command.includes('engines/child/main')) found.push(each)
  }
  return found
}

/** Sends `signal` to each; one that has ended meanwhile is passed over. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

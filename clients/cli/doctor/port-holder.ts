/** Who listens on a port, where the system tells. */
import { printable } from '../printable.ts'
import type { Machine } from './machine.ts'

const LISTEN_STATE = '0A'
/** Processes that are looked at; a machine with more is left without an answer. */
const PROCESSES_MAX = 20_000
const NAME_LENGTH_MAX = 80

export interface Holder {
  readonly pid: number
  readonly name: string
}

/** The process that listens on TCP `port`; `undefined` when there is none, or the system does not tell this account. */
export async function portHolder(machine: Machine, port: number): Promise<Holder | undefined> {
  if (machine.platform === 'linux') return linuxHolder(machine, port)
  if (machine.platform === 'darwin') return lsofHolder(machine, port)
  return undefined
}

async function linuxHolder(machine: Machine, port: number): Promise<Holder | undefined> {
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((path) => machine.text(path)))
  const inodes = new Set(tables.flatMap((table) => listeningInodes(table ?? '', port)))
  if (inodes.size === 0) return undefined
  const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_MAX)
  for (const pid of pids)
    for (const fd of await machine.list(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec((await machine.link(`/proc/${pid}/fd/${fd}`)) ?? '')?.[1]
      if (inode !== undefined && inodes.has(inode)) return { pid: Number(pid), name: await nameOf(machine, pid) }
    }
  return undefined
}

/** Its command line, which says more than the name of its first thread: that of every Node is `MainThread`. */
async function nameOf(machine: Machine, pid: string): Promise<string> {
  const words = ((await machine.text(`/proc/${pid}/cmdline`)) ?? '').split('\0').filter((word) => word !== '')
  const line = words.join(' ') || ((await machine.text(`/proc/${pid}/comm`)) ?? '').trim()
  return printable(line).slice(0, NAME_LENGTH_MAX)
}

/** Of `/proc/net/tcp`: inodes of the sockets that listen on `port`. */
export function listeningInodes(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    return fields[1]?.endsWith(`:${hex}`) && fields[3] === LISTEN_STATE ? [fields[9]!] : []
  })
}

async function lsofHolder(machine: Machine, port: number): Promise<Holder | undefined> {
  const said = await machine.ask('lsof', '-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc')
  const pid = /^p(\d+)$/m.exec(said ?? '')?.[1]
  return pid === undefined ? undefined : { pid: Number(pid), name: /^c(.*)$/m.exec(said!)?.[1] ?? '' }
}

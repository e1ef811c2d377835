/** What is known of a service: its description, what its manager says, and what the process says of itself. */
import { readFile } from 'node:fs/promises'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { DataDir, type Instance } from '../../../mesh/runtime/index.ts'
import { formatDuration, type Output } from '../output.ts'
import { decodeMark, type ServiceMark } from './mark.ts'
import type { ManagedState, ServiceManager } from './types.ts'

export interface ServiceStatus {
  readonly name: string
  readonly path: string
  readonly role: ServiceMark['role']
  readonly dataDir: string
  readonly isRunning: boolean
  /** In the manager's words; absent when it does not answer. */
  readonly state: string | undefined
  readonly startsByItself: boolean | undefined
  readonly lastExitCode: number | undefined
  readonly pid: number | undefined
  /** Version that runs, or that was installed. */
  readonly version: string
  /** Wall clock of the start in ms since 1970. */
  readonly startedAtMs: number | undefined
  readonly http: string | undefined
}

/**
 * The description of the service `name`, as it was installed.
 *
 * @throws SkeinError SERVICE_NOT_INSTALLED when there is none, or when Skein did not write it.
 */
export async function readMark(manager: ServiceManager, name: string): Promise<ServiceMark> {
  const path = manager.path(name)
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined)
    throw new SkeinError('SERVICE_NOT_INSTALLED', `there is no ${path}; install it with: skein service install up`)
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe
  const mark = decodeMark(bytes.toString(isUtf16 ? 'utf16le' : 'utf8'))
  if (mark === undefined)
    throw new SkeinError('SERVICE_NOT_INSTALLED', `${path} was not written by skein service install: it is left alone`)
  return mark
}

/** Whether a process of this machine has `pid`. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // it is someone else's
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** @throws as `readMark`. */
export async function serviceStatus(manager: ServiceManager, name: string): Promise<ServiceStatus> {
  const mark = await readMark(manager, name)
  const state = await manager.state(name)
  const said = DataDir.instance(mark.data)
  const instance = said !== undefined && isAlive(said.pid) ? said : undefined
  return statusOf({ name, path: manager.path(name), mark, state, instance })
}

interface Facts {
  readonly name: string
  readonly path: string
  readonly mark: ServiceMark
  readonly state: ManagedState | undefined
  readonly instance: Instance | undefined
}

const statusOf = ({ name, path, mark, state, instance }: Facts): ServiceStatus => ({
  name,
  path,
  role: mark.role,
  dataDir: mark.data,
  isRunning: instance !== undefined || state?.isRunning === true,
  state: state?.state,
  startsByItself: state?.startsByItself,
  lastExitCode: state?.lastExitCode,
  pid: state?.pid ?? instance?.pid,
  version: instance?.version ?? mark.version,
  startedAtMs: instance?.startedAtMs,
  http: instance?.http,
})

const CODES: Readonly<Record<number, string>> = {
  0: 'it was stopped',
  1: 'it failed; its log tells why',
  2: 'a setting is wrong; install it again with others',
  4: 'refused: its owner put it out of the mesh, or its certificate is over',
}

/** For people. */
export function reportStatus(status: ServiceStatus, nowMs: number, output: Output): void {
  const { name, role, isRunning, state, pid, version, startedAtMs, http, lastExitCode } = status
  const word = isRunning ? output.paint('green', 'running') : output.paint('red', 'not running')
  const since = startedAtMs === undefined ? '' : `, for ${formatDuration(nowMs - startedAtMs)}`
  output.line(`${name} (${role}) is ${word}${since}`)
  const rows: [string, string | undefined][] = [
    ['Manager', state === undefined ? 'does not answer' : `${state}${bootOf(status)}`],
    ['Process', pid === undefined ? undefined : String(pid)],
    ['Version', version],
    ['API', http],
    ['Data', status.dataDir],
    ['File', status.path],
    ['Ended', isRunning || lastExitCode === undefined ? undefined : endOf(lastExitCode)],
  ]
  for (const [label, value] of rows) if (value !== undefined) output.line(`  ${label.padEnd(8)} ${value}`)
}

const bootOf = ({ startsByItself }: ServiceStatus): string =>
  startsByItself === undefined ? '' : startsByItself ? ', starts by itself' : ', does not start by itself'

const endOf = (code: number): string => `with code ${code}: ${CODES[code] ?? 'the system ended it'}`

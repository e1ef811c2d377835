/** Checks of the machine itself: Node, data directory, disk, memory, open files, time zone, settings. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { asSkeinError, LIMITS } from '../../../mesh/protocol/index.ts'
import { DataDir } from '../../../mesh/runtime/index.ts'
import { formatBytes } from '../output.ts'
import { addServeOptions } from '../serve-options.ts'
import { isAlive } from '../service/status.ts'
import { failure, ok, skipped, warning, type Finding } from './check.ts'
import type { Machine } from './machine.ts'
import { isNetworkMount, mountOf, speedClass } from './mounts.ts'

const NODE_MAJOR_MIN = 24
const GIB = 1024 ** 3
/** Below it a pull of a small model fails; below the other, the ledger soon does. */
const DISK_FREE_WARN = 2 * GIB
const DISK_FREE_MIN = 256 * 1024 ** 2
const MEMORY_FREE_WARN = GIB
/** Every connection, the files of models, and some. */
const OPEN_FILES_WARN = LIMITS.httpConnectionsMax + 2 * LIMITS.connectionsMax + 512
const OPEN_FILES_MIN = 512
/** Before Skein was made: such a machine has no clock that runs while it is off. */
const FIRST_YEAR = 2026

export function checkNode({ nodeVersion }: Machine): Finding {
  const major = Number(/^v(\d+)/.exec(nodeVersion)?.[1])
  if (major >= NODE_MAJOR_MIN) return ok('Node.js', nodeVersion)
  return failure('Node.js', nodeVersion, `start it through bin/skein, which brings Node ${NODE_MAJOR_MIN}`)
}

/** Its rights, who runs there, and whether it is on a disk that locks. Makes it when it is not there, as a start would. */
export async function checkDataDirectory(machine: Machine, path: string): Promise<Finding[]> {
  const check = 'data directory'
  const mend = 'mend its permissions, or choose another with --data DIR'
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    return [failure(check, `${path}: ${asSkeinError(error).message}`, mend)]
  }
  if (!(await machine.mayUse(path))) return [failure(check, `${path} cannot be read and written`, mend)]
  const findings: Finding[] = []
  const key = join(path, 'identity.key')
  const mode = await machine.mode(key)
  if (mode !== undefined && (mode & 0o077) !== 0 && machine.platform !== 'win32')
    findings.push(
      failure(check, `other accounts can read ${key}: whoever has it can be this machine`, `chmod 600 ${key}`),
    )
  const mount = mountOf((await machine.text('/proc/self/mountinfo')) ?? '', path)
  if (mount !== undefined && isNetworkMount(mount))
    findings.push(
      failure(
        check,
        `${path} is on a network file system (${mount.type}): locks and the ledger are not safe there`,
        'choose a folder of a disk of this machine with --data DIR; models may stay where they are (--model PATH)',
      ),
    )
  if (findings.length > 0) return findings
  const instance = DataDir.instance(path)
  if (instance === undefined) return [ok(check, path)]
  if (isAlive(instance.pid)) return [ok(check, `${path}, in use by process ${instance.pid}`)]
  return [ok(check, `${path}; process ${instance.pid} ended without a word, which does no harm`)]
}

export async function checkDisk(machine: Machine, path: string): Promise<Finding> {
  const { freeBytes, sizeBytes } = await machine.disk(path)
  const mount = mountOf((await machine.text('/proc/self/mountinfo')) ?? '', path)
  const speed = mount && (await speedClass(machine, mount))
  const reserve = Math.min(0.1 * sizeBytes, 5 * GIB)
  const budget = Math.max(0, freeBytes - reserve)
  const detail =
    `${formatBytes(freeBytes)} of ${formatBytes(sizeBytes)} free, ${formatBytes(budget)} of it for pulls` +
    (speed === undefined ? '' : `; ${speed}`)
  const next = 'make room: skein models --local, skein rm NAME'
  if (freeBytes < DISK_FREE_MIN) return failure('disk', detail, next)
  return freeBytes < DISK_FREE_WARN ? warning('disk', detail, next) : ok('disk', detail)
}

export function checkMemory(machine: Machine): Finding {
  const { freeBytes, sizeBytes } = machine.memory()
  const detail = `${formatBytes(freeBytes)} of ${formatBytes(sizeBytes)} free`
  if (freeBytes >= MEMORY_FREE_WARN) return ok('memory', detail)
  return warning('memory', detail, 'close other programs, or serve a smaller model')
}

/** Node raises its own limit to the hard one. */
export async function checkOpenFiles(machine: Machine): Promise<Finding> {
  const check = 'open files'
  const limits = await machine.text('/proc/self/limits')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits ?? '')?.[1]
  if (hard === undefined) return skipped(check, 'this system does not tell how many are allowed')
  const allowed = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard)
  const detail = `${hard} allowed`
  const next = 'raise it: LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536` before the start'
  if (allowed < OPEN_FILES_MIN) return failure(check, detail, next)
  return allowed < OPEN_FILES_WARN
    ? warning(check, `${detail}; ${OPEN_FILES_WARN} serve all that the limits allow`, next)
    : ok(check, detail)
}

/** The owner's hours are of this zone. */
export function checkTimeZone({ env, clock }: Machine): Finding {
  const wallMs = clock.wallMs()
  const date = new Date(wallMs)
  const set = env['TZ']
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions()
  const detail = `${timeZone}, where it is ${date.toLocaleString('sv-SE')}`
  if (date.getFullYear() < FIRST_YEAR)
    return failure('time', detail, 'set the clock: certificates are not valid before they were made')
  if (set !== undefined && set !== '' && !isTimeZone(set.replace(/^:/, '')))
    return warning('time', `${detail}; TZ=${set} is no time zone`, 'set TZ to one such as Europe/Berlin, or unset it')
  return ok('time', detail)
}

function isTimeZone(name: string): boolean {
  if (name.startsWith('/')) return true
  try {
    Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** Settings of variables, read by the parser that a start would use. */
export function checkSettings({ env }: Machine, known: ReadonlySet<string>): Finding[] {
  const check = 'settings'
  const command = addServeOptions(new Command('up'), { coordinator: true, node: true })
  command.exitOverride().configureOutput({ writeErr: () => undefined })
  const given = Object.keys(env).filter((name) => name.startsWith('SKEIN_'))
  const unknown = given.filter((name) => !known.has(name))
  const findings = unknown.map((name) =>
    warning(check, `${name} is no setting of Skein`, 'see docs/CONFIGURATION.md; it has no effect'),
  )
  try {
    command.parse([], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return [...findings, failure(check, error.message.replace(/^error: /, ''), 'correct the variable, or unset it')]
  }
  if (findings.length > 0) return findings
  return [ok(check, given.length === 0 ? 'no variables are set' : `${given.join(', ')}`)]
}

/** Pulling a model for a command: with progress, and so that Ctrl-C keeps what came. */
import { homedir } from 'node:os'
import { asSkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import type { Pulled, PullInit } from '../../node/models/store/index.ts'
import { Interrupted } from './interrupt.ts'
import { CommandMembers, type MeshMembersInit } from './mesh-members.ts'
import type { Output } from './output.ts'
import { PullReport } from './pull-report.ts'

export interface PullModelInit extends Omit<PullInit, 'onEvent'> {
  readonly dataDir: string
  readonly reference: string
  readonly output: Output
  /** The command that goes on with what was kept. */
  readonly command: string
  /** How to be in the mesh; `false` asks no member. */
  readonly mesh?: Omit<MeshMembersInit, 'dataDir'> | false
}

/** After these, and after an interruption, what came is kept. */
const KEPT: readonly ErrorCode[] = ['MODEL_PULL_FAILED', 'DISK_FULL']

/** @throws what `pull` throws, having said how to go on; Interrupted. */
export async function pullModel(init: PullModelInit): Promise<Pulled> {
  const { dataDir, reference, output, command, mesh = {}, ...options } = init
  const { hubOf, ModelStore, programDirs, pull } = await import('../../node/models/store/index.ts')
  const clock = new SystemClock(true)
  const random = new SystemRandom()
  const store = new ModelStore({ clock, random }, dataDir)
  const members = mesh === false ? undefined : new CommandMembers({ clock, random }, { ...mesh, dataDir })
  const programs = programDirs(process.env, homedir())
  const components = { clock, random, store, hub: hubOf(process.env), programs, ...(members && { members }) }
  const report = new PullReport(reference, output, clock)
  try {
    return await interruptible((signal) => pull(components, reference, { ...options, onEvent: report.tell }, signal))
  } catch (thrown) {
    report.end()
    const isKept = thrown instanceof Interrupted || KEPT.includes(asSkeinError(thrown).code)
    if (isKept && report.kept !== undefined) output.note(`${report.kept} are kept; go on with: ${command}`)
    throw thrown
  } finally {
    report.end()
    await members?.close()
  }
}

/** Runs `work` under a signal that the first Ctrl-C or SIGTERM aborts; a second one ends the process at once. */
async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort(new Interrupted('interrupted'))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    return await work(controller.signal)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** The owner's policy: whether its file is in order, and whether a pause holds. */
import type { Clock } from '../../../mesh/runtime/index.ts'
import { policyInForce } from '../owner-policy.ts'
import { failure, ok, warning, type Finding } from './check.ts'

/** Does not throw. */
export async function checkPolicy(dataDir: string, clock: Clock): Promise<Finding> {
  const { readPause } = await import('../../../node/policy/index.ts')
  const { policy, problem } = await policyInForce(dataDir)
  if (problem !== undefined)
    return failure('policy', problem, 'until then the last policy without an error stays in force (docs/POLICY.md)')
  const pause = await readPause(dataDir)
  if (pause !== undefined && (pause.untilMs === undefined || pause.untilMs > clock.wallMs()))
    return warning('policy', 'paused by its owner: this machine takes no work', 'skein resume')
  const set = [...policy.written.keys()].join(', ')
  return ok('policy', set === '' ? 'serves always and for everyone' : `sets ${set}`)
}

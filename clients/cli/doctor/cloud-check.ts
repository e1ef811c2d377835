/** The cloud settings: whether their file is in order, and what may leave by them. */
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import { failure, ok, warning, type Finding } from './check.ts'

/** Does not throw. */
export async function checkCloud(dataDir: string, environment: NodeJS.ProcessEnv): Promise<Finding> {
  try {
    // half of the coordinator comes with it
    const { cloudSettingsOf, missingKeys } = await import('../cloud-settings.ts')
    const settings = await cloudSettingsOf(dataDir)
    if (settings === undefined) return ok('cloud', 'no cloud.json: the defaults hold')
    const [missing] = missingKeys(settings, environment)
    if (missing !== undefined)
      return warning(
        'cloud',
        `the variable ${missing} is not set here, and an endpoint takes its key from it`,
        'set it for the process that runs the coordinator (docs/CLOUD.md)',
      )
    const { policy, endpoints } = settings
    const reasons = policy.reasons.length === 0 ? 'nothing may leave' : `may leave for: ${policy.reasons.join(', ')}`
    return ok('cloud', `${reasons}; ${endpoints.length} ${endpoints.length === 1 ? 'endpoint' : 'endpoints'}`)
  } catch (thrown) {
    return failure(
      'cloud',
      asSkeinError(thrown).message,
      'a running coordinator keeps the settings before; a new one does not start (docs/CLOUD.md)',
    )
  }
}

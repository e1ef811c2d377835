/** What commands that run no node ask the owner's policy of a data directory: may a model be pulled, is the file in order. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { asSkeinError } from '../../mesh/protocol/index.ts'
import { SystemClock } from '../../mesh/runtime/index.ts'
import type { ReadPolicy } from '../../node/policy/index.ts'
import type { Output } from './output.ts'
import type { ServeOptions } from './serve-options.ts'

export interface PolicyInForce {
  readonly policy: ReadPolicy
  /** The file that it is of. */
  readonly file: string
  /** What is wrong with the owner's file, where it is not that one. */
  readonly problem?: string
}

/** The policy of `dataDir`; where its file is wrong, the last one without an error. Does not throw for what is in the files. */
export async function policyInForce(dataDir: string): Promise<PolicyInForce> {
  const { POLICY_FILE, readPolicy, VALID_POLICY_FILE } = await import('../../node/policy/index.ts')
  // a file that is there and cannot be read is no policy that allows everything
  const textOf = (name: string): Promise<string> =>
    readFile(join(dataDir, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
  try {
    return { policy: readPolicy(await textOf(POLICY_FILE)), file: POLICY_FILE }
  } catch (thrown) {
    const problem = asSkeinError(thrown).message
    try {
      return { policy: readPolicy(await textOf(VALID_POLICY_FILE)), file: VALID_POLICY_FILE, problem }
    } catch {
      return { policy: readPolicy(''), file: VALID_POLICY_FILE, problem }
    }
  }
}

/** `options`, offline where the policy wants no model pulled over the link that this machine has. */
export async function sparingMetered(options: ServeOptions, output: Output): Promise<ServeOptions> {
  const { settings } = (await policyInForce(resolve(options.data))).policy
  if (options.offline === true || settings.metered === 'serve') return options
  const { FileSenses, SystemSenses } = await import('../../node/policy/index.ts')
  const clock = new SystemClock(true)
  const { senses } = options
  const machine = senses === undefined ? new SystemSenses({ clock }) : new FileSenses(clock, resolve(senses))
  const { metered } = await machine.read(new Set(['metered']))
  if (metered === false || (metered === 'unknown' && settings.whenUnknown === 'serve')) return options
  output.note('the link is metered, or may be: no model is pulled (network.metered in policy.toml)')
  return { ...options, offline: true }
}

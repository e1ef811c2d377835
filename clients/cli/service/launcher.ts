/** Where this Skein is installed, and how a service starts it: by absolute paths, whatever `PATH` the service gets. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SkeinError } from '../../../mesh/protocol/index.ts'

/** As the launcher gives it to commands that stay. */
const NODE_FLAGS = ['--max-semi-space-size=2']

export interface Installation {
  /** `package`: npm has put it somewhere to stay; `npx`: into its cache, from where it may vanish. */
  readonly kind: 'checkout' | 'package' | 'npx'
  readonly root: string
  readonly node: string
  readonly launcher: string
}

/** Of the running Skein. @throws SkeinError INTERNAL when its own files are not where they belong. */
export function findInstallation(from = dirname(fileURLToPath(import.meta.url))): Installation {
  const root = rootOf(from)
  const launcher = join(root, 'bin', 'skein')
  return { kind: kindOf(root), root, node: nodeOf(root), launcher }
}

function rootOf(from: string): string {
  for (let dir = from; dir !== dirname(dir); dir = dirname(dir))
    if (existsSync(join(dir, 'bin', 'skein')) && existsSync(join(dir, 'package.json'))) return dir
  throw new SkeinError('INTERNAL', `bin/skein is in no folder above ${from}`)
}

/** By its path alone. */
export function kindOf(root: string): Installation['kind'] {
  const parts = root.split(sep)
  if (parts.includes('_npx')) return 'npx'
  return parts.includes('node_modules') ? 'package' : 'checkout'
}

/**
 * The Node that npm brought with Skein lives and ends with it. One of the machine's may have its version in its path, and
 * an update would take it away: it is taken when there is no other.
 */
function nodeOf(root: string): string {
  const { bundledNode } = createRequire(import.meta.url)(join(root, 'bin', 'runtime.cjs')) as {
    bundledNode: () => string | undefined
  }
  return bundledNode() ?? process.execPath
}

/** What a service runs. */
export const commandOf = ({ node, launcher }: Installation, args: readonly string[]): string[] => [
  node,
  ...NODE_FLAGS,
  launcher,
  ...args,
]

/** Runs the tools of the project under the Node that runs this. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Command-line entry of each tool, from the root. */
export const TOOLS = {
  tsc: 'node_modules/typescript/bin/tsc',
  eslint: 'node_modules/eslint/bin/eslint.js',
  prettier: 'node_modules/prettier/bin/prettier.cjs',
  vitest: 'node_modules/vitest/vitest.mjs',
} as const

/** Runs `node file args` in the root with our standard streams. Returns its exit code; 1 when a signal ended it. */
export function runNode(file: string, args: readonly string[]): number {
  const result = spawnSync(process.execPath, [file, ...args], { cwd: ROOT, stdio: 'inherit' })
  return result.status ?? 1
}

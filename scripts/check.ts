/** `npm run check`: types, lint, format and architecture, cheapest first; stops at the first that fails. */
import { runNode, TOOLS } from './tools.ts'

const STEPS: readonly (readonly [name: string, file: string, args: readonly string[]])[] = [
  ['types', TOOLS.tsc, ['-b']],
  ['format', TOOLS.prettier, ['--check', '--log-level', 'warn', '--cache', '.']],
  ['architecture and documents', 'scripts/test.ts', ['architecture']],
  ['lint', TOOLS.eslint, ['--max-warnings', '0', '.']],
]

for (const [name, file, args] of STEPS) {
  const startMs = performance.now()
  const code = runNode(file, args)
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  process.stdout.write(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)\n`)
  if (code !== 0) process.exit(code)
}

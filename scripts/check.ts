/** `npm run check`: types, lint, format and architecture; lint, which takes as long as the others together, beside them. */
import { spawn } from 'node:child_process'
import { ROOT, TOOLS } from './tools.ts'

type Step = readonly [name: string, file: string, args: readonly string[]]

const LINT: Step = ['lint', TOOLS.eslint, ['--max-warnings', '0', '.']]
const OTHERS: readonly Step[] = [
  ['types', TOOLS.tsc, ['-b']],
  ['format', TOOLS.prettier, ['--check', '--log-level', 'warn', '--cache', '.']],
  ['architecture and documents', 'scripts/test.ts', ['architecture']],
]

/** Prints what the step says once it has ended, so that two at a time can be read. */
async function passes([name, file, args]: Step): Promise<boolean> {
  const startMs = performance.now()
  const child = spawn(process.execPath, [file, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | null>((resolve) => {
    child.once('close', resolve)
    child.once('error', () => resolve(null))
  })
  process.stdout.write(Buffer.concat(said))
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  process.stdout.write(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)\n`)
  return code === 0
}

async function allPass(steps: readonly Step[]): Promise<boolean> {
  for (const step of steps) if (!(await passes(step))) return false
  return true
}

const results = await Promise.all([passes(LINT), allPass(OTHERS)])
if (results.includes(false)) process.exitCode = 1

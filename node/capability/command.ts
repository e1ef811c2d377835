/** Running the vendors' tools: bounded in time and output, never through a shell. */
import { execFile } from 'node:child_process'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'

/** Output of a tool in bytes; a machine with 64 GPUs stays far below. */
const OUTPUT_BYTES_MAX = 1024 * 1024

/** Runs `file` with `args` and gives its standard output. Rejects when it is missing, fails or `signal` aborts. */
export type RunCommand = (file: string, args: readonly string[], signal: AbortSignal) => Promise<string>

export const runCommand: RunCommand = (file, args, signal) =>
  new Promise((resolve, reject) => {
    const options = {
      signal,
      maxBuffer: OUTPUT_BYTES_MAX,
      encoding: 'utf8',
      windowsHide: true,
      killSignal: 'SIGKILL',
    } as const
    execFile(file, [...args], options, (error, stdout) => (error ? reject(error) : resolve(stdout)))
  })

/** Output of a tool that may well be missing: `undefined` when it is, fails, or takes more than `boundMs`. */
export async function tryCommand(
  run: RunCommand,
  clock: Clock,
  boundMs: number,
  file: string,
  ...args: string[]
): Promise<string | undefined> {
  const late = (): SkeinError => new SkeinError('INTERNAL', `${file} did not answer within ${boundMs} ms`)
  try {
    return await withDeadline(clock, boundMs, late, undefined, (signal) => run(file, args, signal))
  } catch {
    return undefined
  }
}

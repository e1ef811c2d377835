/** Doing what a plan says: commands without a shell, files whole, each step told. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { writeFileAtomic } from '../../../mesh/runtime/index.ts'
import type { PlannedCommand, PlannedFile, ServicePlan } from './types.ts'

/** Stopping a service waits for its answers; nothing that is run here takes longer. */
const COMMAND_MS = 60_000
const OUTPUT_BYTES_MAX = 256 * 1024
const ASK_MS = 5000
/** For everyone to read: no secret is in it, and a manager may run as another account. */
const FILE_MODE = 0o644

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}
export type Run = (argv: readonly string[], timeoutMs: number) => Promise<RunResult>

/** Runs a program; a missing one ends with code 127. Never rejects. */
export const runProgram: Run = ([file, ...args], timeoutMs) =>
  new Promise((resolve) => {
    const options = { timeout: timeoutMs, maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8', windowsHide: true } as const
    execFile(file!, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve({ code: 0, stdout, stderr })
      const code = typeof error.code === 'number' ? error.code : (error.code as unknown) === 'ENOENT' ? NOT_FOUND : 1
      resolve({ code, stdout, stderr: stderr === '' ? error.message : stderr })
    })
  })

const NOT_FOUND = 127

/** Output of a program that may be missing or fail: then `undefined`. */
export const askWith =
  (run: Run) =>
  async (file: string, ...args: string[]): Promise<string | undefined> => {
    const { code, stdout } = await run([file, ...args], ASK_MS)
    return code === 0 ? stdout : undefined
  }

export interface ApplyComponents {
  readonly run: Run
  /** Told of each step that was done. */
  readonly done: (step: string) => void
}

/**
 * Carries out `plan`. Without `commands` only its files are written or removed.
 *
 * @throws SkeinError SERVICE_FAILED naming the step and what it said. What was done before stays; doing it again is harmless.
 */
export async function apply(
  plan: ServicePlan,
  { run, done }: ApplyComponents,
  init: { readonly commands: boolean },
): Promise<void> {
  if (init.commands) for (const command of plan.before) await runStep(command, run, done)
  for (const file of plan.files) {
    const isNew = await writeFileStep(file)
    done(isNew ? `wrote ${file.path}` : `${file.path} is so already`)
  }
  for (const path of plan.removed) {
    await failing(`cannot remove ${path}`, () => rm(path, { force: true }))
    done(`removed ${path}`)
  }
  if (init.commands) for (const command of plan.after) await runStep(command, run, done)
}

export const encoded = ({ content, encoding }: PlannedFile): Buffer =>
  encoding === 'utf16' ? Buffer.from(`\ufeff${content}`, 'utf16le') : Buffer.from(content, 'utf8')

/** False when the file has that content already. */
async function writeFileStep(file: PlannedFile): Promise<boolean> {
  const content = encoded(file)
  const before = await readFile(file.path).catch(() => undefined)
  if (before?.equals(content)) return false
  await failing(`cannot write ${file.path}`, async () => {
    await mkdir(dirname(file.path), { recursive: true })
    await writeFileAtomic(file.path, content, FILE_MODE)
  })
  return true
}

async function failing(what: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step()
  } catch (cause) {
    throw new SkeinError('SERVICE_FAILED', `${what}: ${(cause as Error).message}`, { cause })
  }
}

async function runStep({ argv, mayFail }: PlannedCommand, run: Run, done: (step: string) => void): Promise<void> {
  const { code, stderr, stdout } = await run(argv, COMMAND_MS)
  if (code === 0) return done(`ran ${argv.join(' ')}`)
  if (mayFail === true) return
  const said = (stderr || stdout).trim().slice(0, 500)
  throw new SkeinError('SERVICE_FAILED', `\`${argv.join(' ')}\` failed (${code}): ${said}`)
}

/** `skein backup FILE`: ledger, keys and membership of a data directory in one file, while Skein runs or not. */
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Argument, type Command } from 'commander'
import type { BackupContent, BackupFile } from '../../../coordinator/index.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { formatBytes } from '../output.ts'

/**
 * What a lost disk would take beside the ledger. Digests and measurements are not here: they are made again; nor are
 * locks and what runs now.
 */
export const BACKUP_FILES = [
  'identity.key',
  'mesh.key',
  'authority.json',
  'membership.json',
  'capability.json',
  'http.key',
  'trust-ca.key',
  'trust-ca.crt',
  'trust-ca.json',
  'policy.toml',
] as const

export function registerBackup(program: Command): void {
  addGlobalOptions(
    program
      .command('backup')
      .description('write ledger, keys and membership into one file, and check it by restoring it')
      .addArgument(new Argument('<file>', 'file to make')),
  ).action(async (file: string, options: GlobalOptions) => {
    const { output, dataDir } = createContext(options)
    const { LEDGER_FILE, writeBackup } = await import('../../../coordinator/index.ts')
    const path = resolve(file)
    const files = await filesOf(dataDir)
    const ledgerPath = join(dataDir, LEDGER_FILE)
    if (files.length === 0 && !(await exists(ledgerPath)))
      throw new SkeinError('DATA_DIR_UNUSABLE', `${dataDir} holds nothing of Skein; name another with --data DIR`)
    const createdAtMs = new SystemClock().wallMs()
    const content = writeBackup({ ledgerPath, files, version: program.version()!, createdAtMs }, path)
    const { size: bytes } = await stat(path)
    if (output.json) return output.value({ file: path, bytes, ...content })
    output.line(`${path} (${formatBytes(bytes)}): ${describe(content)}; checked by restoring it`)
    output.note('It holds secret keys: whoever has it can be this machine. Keep it where nobody else reads.')
  })
}

/** What is in a backup, in words. */
export function describe({ ledger, files }: BackupContent): string {
  const tasks = ledger === undefined ? 'no ledger' : `${ledger.tasks} tasks with ${ledger.events} events`
  return `${tasks}, ${files.join(', ') || 'no keys'}`
}

/** @throws SkeinError DATA_DIR_UNUSABLE for one that is there and cannot be read. */
async function filesOf(dataDir: string): Promise<BackupFile[]> {
  const files: BackupFile[] = []
  for (const name of BACKUP_FILES)
    try {
      files.push({ name, content: await readFile(join(dataDir, name)) })
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') continue
      throw new SkeinError('DATA_DIR_UNUSABLE', `${name} cannot be read: ${(cause as Error).message}`, { cause })
    }
  return files
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

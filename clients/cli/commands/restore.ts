/** `skein restore FILE`: makes a data directory of a backup, whole or not at all. */
import { resolve } from 'node:path'
import { Argument, type Command } from 'commander'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { BACKUP_FILES, describe } from './backup.ts'

export function registerRestore(program: Command): void {
  addGlobalOptions(
    program
      .command('restore')
      .description('make a data directory of a backup; it must be new or empty')
      .addArgument(new Argument('<file>', 'what `skein backup` wrote')),
  ).action(async (file: string, options: GlobalOptions) => {
    const { output, dataDir } = createContext(options)
    const { restoreBackup } = await import('../../../coordinator/index.ts')
    const content = restoreBackup(resolve(file), dataDir, BACKUP_FILES)
    if (output.json) return output.value({ dataDir, ...content })
    const when = new Date(content.createdAtMs).toISOString()
    output.line(`${dataDir}: ${describe(content)}; as of ${when}, by Skein ${content.version}`)
    output.note(`Start it with the command of the machine that it came from, such as: skein up --data ${dataDir}`)
    output.note('Never run both: they are one member of the mesh.')
  })
}

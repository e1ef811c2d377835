/** `skein rm MODEL`: takes a model, or what an unfinished pull has, out of the store of this machine. */
import { createInterface } from 'node:readline/promises'
import { Argument, Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import type { ModelStore, StoredModel, UnfinishedModel } from '../../../node/models/store/index.ts'
import { addGlobalOptions, createContext, type Context, type GlobalOptions } from '../context.ts'
import { formatBytes } from '../output.ts'

interface RmOptions extends GlobalOptions {
  readonly yes?: boolean
  readonly force?: boolean
}

export function registerRm(program: Command): void {
  addGlobalOptions(
    program
      .command('rm')
      .description('remove a model from the store of this machine')
      .addArgument(new Argument('<model>', 'name, or digest or eight digits of it and more')),
  )
    .addOption(new Option('--yes', 'do not ask'))
    .addOption(new Option('--force', 'also when a running node serves it'))
    .action(async (model: string, options: RmOptions) => {
      const context = createContext(options)
      const { ModelStore, notStored } = await import('../../../node/models/store/index.ts')
      const store = new ModelStore({ clock: new SystemClock(true), random: new SystemRandom() }, context.dataDir)
      const known = await store.find(model)
      const part = known
        ? undefined
        : (await store.unfinished()).find((each) => each.name === model || each.reference === model)
      if (known) await removeModel(store, model, known, context, options)
      else if (part) await removePart(store, part, context, options)
      else throw notStored(model, await store.list())
    })
}

async function removeModel(
  store: ModelStore,
  text: string,
  { name, sizeBytes }: StoredModel,
  { output }: Context,
  options: RmOptions,
): Promise<void> {
  if (!(await mayRemove(`${name} (${formatBytes(sizeBytes)})`, options))) return output.note('nothing was removed')
  const removed = await store.remove(text, options.force ?? false)
  if (output.json) return output.value({ removed: removed.map(({ name, digest }) => ({ name, digest })) })
  for (const each of removed) output.line(`${each.name} is removed`)
}

async function removePart(
  store: ModelStore,
  part: UnfinishedModel,
  { output }: Context,
  options: RmOptions,
): Promise<void> {
  const what = `what came of ${part.name} (${formatBytes(part.doneBytes)} of ${formatBytes(part.sizeBytes)})`
  if (!(await mayRemove(what, options))) return output.note('nothing was removed')
  await store.removeUnfinished(part)
  if (output.json) output.value({ removed: [{ name: part.name, unfinished: true }] })
  else output.line(`${what} is removed`)
}

/** @throws SkeinError USAGE where nobody can be asked. */
async function mayRemove(what: string, { yes, json }: RmOptions): Promise<boolean> {
  if (yes === true) return true
  if (process.stdin.isTTY !== true || json === true)
    throw new SkeinError('USAGE', `${what} would be removed; nobody can be asked here, so say it with --yes`)
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(`Remove ${what}? [y/N] `)).trim())
  } finally {
    lines.close()
  }
}

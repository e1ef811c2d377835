/**
 * Loaded before everything else (`node --import`): gives the code under test its disk in memory, and takes out the guard
 * that `SKEIN_SIM_MUTATION` names (`mutations.ts`). A guard whose text is not found ends the process.
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { mutated, MUTATIONS } from './mutations.ts'

const DISK = new URL('./disk.ts', import.meta.url).href
/** Code that keeps files through promises; what starts processes, reads model files or writes logs is not reached. */
const HAS_DISK = /\/(node\/(capability|models|agent|executor)\/[^/]+|mesh\/runtime\/files)\.ts$/
const ROOT = new URL('../../', import.meta.url)

const name = process.env['SKEIN_SIM_MUTATION']
const mutation = name === undefined ? undefined : MUTATIONS.find((each) => each.name === name)
if (name !== undefined && mutation === undefined) throw new RangeError(`no mutation is named ${name}`)
// before anything runs: a patch that does not fit must not look like a guard that nobody misses
const sources = new Map<string, string>()
for (const patch of mutation?.patches ?? []) {
  const { href } = new URL(patch.file, ROOT)
  sources.set(href, mutated(patch, sources.get(href) ?? readFileSync(new URL(href), 'utf8')))
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (specifier === 'node:fs/promises' && HAS_DISK.test(context.parentURL ?? ''))
      return { url: DISK, shortCircuit: true, format: 'module-typescript' }
    return nextResolve(specifier, context)
  },
  load(url, context, nextLoad) {
    const source = sources.get(url)
    if (source === undefined) return nextLoad(url, context)
    return { format: 'module-typescript', shortCircuit: true, source }
  },
})

/** `skein cache`: what the cache of answers did, and deleting what it has. */
import type { Command } from 'commander'
import type { CacheView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatBytes, table } from '../output.ts'

export function registerCache(program: Command): void {
  const cache = program.command('cache').description('answers that are kept for who asks the same again')

  addClientOptions(cache.command('stats').description('what it has, and what it did since the start')).action(
    async (options: ClientOptions) => {
      const { output, client } = createContext(options)
      const view = await client().cache()
      if (output.json) return output.value(view)
      output.line(renderCache(view))
    },
  )

  addClientOptions(cache.command('clear').description('delete all that it has')).action(
    async (options: ClientOptions) => {
      const { output, client } = createContext(options)
      const cleared = await client().clearCache()
      if (output.json) return output.value(cleared)
      output.line('the kept answers are deleted')
    },
  )
}

export function renderCache({ stats }: CacheView): string {
  if (!stats) return 'no answers are kept; see: skein up --help (--cache)'
  const { hits, misses, bypassed, kept, memory, disk, evicted, expired, corrupted, unwritten } = stats
  const given = hits.memory + hits.disk + hits.shared
  const asked = given + misses
  const share = asked === 0 ? '' : ` of ${asked} (${Math.round((100 * given) / asked)} %)`
  const room = ({ entries, bytes, bytesMax }: typeof memory): string =>
    `${entries} answers, ${formatBytes(bytes)} of ${formatBytes(bytesMax)}`
  return table([
    ['given again', `${given}${share}: ${hits.memory} memory, ${hits.disk} disk, ${hits.shared} shared`],
    ['not there', String(misses)],
    ['not asked for', String(bypassed)],
    ['kept', String(kept)],
    ['in memory', room(memory)],
    ['on the disk', disk ? room(disk) : 'nothing'],
    ['made place', String(evicted)],
    ['too old', String(expired)],
    ['damaged', String(corrupted)],
    ['not written', String(unwritten)],
  ])
}

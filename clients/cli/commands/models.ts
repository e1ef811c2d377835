/** `skein models`: what the mesh can run, and where. */
import type { Command } from 'commander'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatBytes, table } from '../output.ts'

export function registerModels(program: Command): void {
  addClientOptions(program.command('models').description('list the models of the mesh')).action(
    async (options: ClientOptions) => {
      const { output, client } = createContext(options)
      const models = await client().models()
      if (output.json) return output.value(models)
      if (models.length === 0) return output.note('no node has a model yet; start one with: skein node --model PATH')
      const rows = models.map((model) => [
        model.aliases[0] ?? model.digest,
        model.quantization,
        formatBytes(model.sizeBytes),
        String(model.contextTokens),
        model.resident ? 'resident' : 'on disk',
        model.nodes.map((node) => node.name).join(', '),
      ])
      output.line(table([['NAME', 'QUANTIZATION', 'SIZE', 'CONTEXT', 'STATE', 'NODES'], ...rows]))
    },
  )
}

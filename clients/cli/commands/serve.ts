/** `skein up`, `skein node`, `skein coordinator`: the processes of a mesh. */
import type { Command } from 'commander'
import { createOutput } from '../output.ts'
import { addServeOptions, serveOptions, type ServeOptions } from '../serve-options.ts'
import type { Parts } from '../running.ts'
import { findModels } from '../stored-models.ts'

const COMMANDS: readonly { readonly name: string; readonly parts: Parts; readonly summary: string }[] = [
  { name: 'up', parts: { coordinator: true, node: true }, summary: 'start coordinator and node in one' },
  {
    name: 'node',
    parts: { coordinator: false, node: true },
    summary: 'start a node that offers its models to the mesh',
  },
  { name: 'coordinator', parts: { coordinator: true, node: false }, summary: 'start a coordinator without models' },
]

export function registerServe(program: Command): void {
  for (const { name, parts, summary } of COMMANDS) {
    const command = program.command(name).description(summary)
    addServeOptions(command, parts).action(async (parsed: Partial<ServeOptions>) => {
      const options = serveOptions(parsed)
      const output = createOutput(options.json ?? false)
      const models = parts.node ? await findModels(options, output) : undefined
      try {
        // Loaded here: the mesh's libraries take longer to load than most commands take to run.
        const { serve } = await import('../serve.ts')
        process.exitCode = await serve(parts, { ...options, ...(models && { model: models.paths }) }, output)
      } finally {
        models?.release()
      }
    })
  }
}

/** `skein up`, `skein node`, `skein coordinator`: the processes of a mesh. */
import type { Command } from 'commander'
import type { Role } from '../../../mesh/protocol/index.ts'
import { createOutput } from '../output.ts'
import { addServeOptions, serveOptions, type ServeOptions } from '../serve-options.ts'
import { sparingMetered } from '../owner-policy.ts'
import type { Parts } from '../running.ts'
import { findModels } from '../stored-models.ts'

/** What each command starts. */
export const ROLE_PARTS: Readonly<Record<'up' | 'node' | 'coordinator', Parts>> = {
  up: { coordinator: true, node: true },
  node: { coordinator: false, node: true },
  coordinator: { coordinator: true, node: false },
}

const COMMANDS: readonly { readonly name: keyof typeof ROLE_PARTS; readonly summary: string }[] = [
  { name: 'up', summary: 'start coordinator, node and bridge in one' },
  { name: 'node', summary: 'start a node that offers its models to the mesh' },
  { name: 'coordinator', summary: 'start a coordinator without models' },
]

export function registerServe(program: Command): void {
  for (const { name, summary } of COMMANDS) {
    const parts = ROLE_PARTS[name]
    const command = program.command(name).description(summary)
    addServeOptions(command, parts).action(async (parsed: Partial<ServeOptions>) => {
      const options = serveOptions(parsed)
      const output = createOutput(options.json ?? false)
      const models = parts.node
        ? await findModels(await sparingMetered(options, output), output, rolesOf(parts))
        : undefined
      try {
        // Loaded here: the mesh's libraries take longer to load than most commands take to run.
        const { serve } = await import('../serve.ts')
        const found = models && { model: models.paths, adapter: models.adapted, bundledModel: models.isBundled }
        process.exitCode = await serve(parts, { ...options, ...found }, output)
      } finally {
        models?.release()
      }
    })
  }
}

const rolesOf = ({ coordinator, node }: Parts): Role[] => [
  ...(coordinator ? (['coordinator'] as const) : []),
  ...(node ? (['node'] as const) : []),
]

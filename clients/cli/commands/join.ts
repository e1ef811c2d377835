/** `skein join INVITE`: becomes a member and ends; `skein node` then starts without an invite. */
import { Argument, type Command } from 'commander'
import { createLogger, DataDir, SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import { createOutput } from '../output.ts'
import { addServeOptions, serveOptions, type ServeOptions } from '../serve-options.ts'

export function registerJoin(program: Command): void {
  addServeOptions(
    program
      .command('join')
      .description('become a member of a mesh, without starting anything')
      .addArgument(new Argument('<invite>', 'what `skein invite` printed')),
    { coordinator: false, node: false },
  ).action(async (invite: string, parsed: Partial<ServeOptions>) => {
    const options = serveOptions(parsed)
    const output = createOutput(options.json ?? false)
    const data = DataDir.open(options.data)
    try {
      const components = {
        clock: new SystemClock(true),
        random: new SystemRandom(),
        log: createLogger(options.logLevel),
      }
      const { openMembership } = await import('../../../mesh/network/index.ts')
      const { store } = await openMembership(components, {
        dataDir: data.path,
        name: options.name,
        roles: ['coordinator', 'node'],
        invite,
        mayCreate: false,
        mdns: options.mdns,
      })
      const { meshId, peerId, name, expiresAtMs } = store.certificate
      if (output.json) output.value({ meshId, peerId, name, expiresAtMs })
      else output.line(`${name} is a member now. Start it with: skein node --model PATH`)
    } finally {
      data.close()
    }
  })
}

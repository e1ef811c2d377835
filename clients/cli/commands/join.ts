/** `skein join INVITE`, or with a pairing code: becomes a member and ends; `skein node` then starts without an invite. */
import { Argument, type Command } from 'commander'
import { joinWithInvite } from '../joining.ts'
import { createOutput } from '../output.ts'
import { addServeOptions, serveOptions, type ServeOptions } from '../serve-options.ts'

export function registerJoin(program: Command): void {
  addServeOptions(
    program
      .command('join')
      .description('become a member of a mesh, without starting anything')
      .addArgument(new Argument('<invite>', 'an invite, or the pairing code that another machine shows')),
    { coordinator: false, node: false },
  ).action(async (invite: string, parsed: Partial<ServeOptions>) => {
    const options = serveOptions(parsed)
    const output = createOutput(options.json ?? false)
    const { meshId, peerId, name, expiresAtMs } = await joinWithInvite({ ...options, invite })
    if (output.json) output.value({ meshId, peerId, name, expiresAtMs })
    else output.line(`${name} is a member now. Start it with: skein node --model PATH`)
  })
}

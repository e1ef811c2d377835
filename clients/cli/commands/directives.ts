/** `skein cordon`, `uncordon` and `drain`: what the owner wants of a node. `drain` waits until nothing runs there. */
import { Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, SystemClock, type Clock } from '../../../mesh/runtime/index.ts'
import type { NodeName } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import type { CoordinatorClient } from '../coordinator-client.ts'
import { interruptSignal } from '../interrupt.ts'

const POLL_MS = 500
/** A node says that it drains by its next load report; this long is many of them. */
const CONFIRM_MS = 10_000

interface DrainOptions extends ClientOptions {
  readonly wait: boolean
}

export function registerDirectives(program: Command): void {
  const simple = [
    ['cordon', 'give a node no new work; what runs there may end', 'takes no new work'],
    ['uncordon', 'let a node take work again', 'may take work again'],
  ] as const
  for (const [directive, description, outcome] of simple)
    addClientOptions(program.command(directive).description(description).argument('<node>', 'name or peer id')).action(
      async (member: string, options: ClientOptions) => {
        const { output, client } = createContext(options)
        const { peerId, name } = await client().direct(member, directive)
        if (output.json) output.value({ peerId, name, directive })
        else output.line(`${name} ${outcome}`)
      },
    )

  addClientOptions(
    program
      .command('drain')
      .description('hand over what runs on a node, and give it no new work')
      .argument('<node>', 'name or peer id'),
  )
    .addOption(new Option('--no-wait', 'do not wait until nothing runs there'))
    .action(async (member: string, options: DrainOptions) => {
      const { output, client } = createContext(options)
      const coordinator = client()
      const node = await coordinator.direct(member, 'drain')
      if (options.wait) await drained(coordinator, node, new SystemClock(true), output.note, interruptSignal())
      const { peerId, name } = node
      if (output.json) output.value({ peerId, name, directive: 'drain', drained: options.wait })
      else output.line(options.wait ? `nothing runs on ${name} any more` : `${name} drains`)
    })
}

/**
 * Resolves when the node says that it drains and nothing runs there, or when it has left.
 *
 * @throws SkeinError NODE_LOST when it never says so; the signal's reason.
 */
export async function drained(
  client: Pick<CoordinatorClient, 'nodes'>,
  { peerId, name }: NodeName,
  clock: Clock,
  note: (text: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const confirmByMs = clock.nowMs() + CONFIRM_MS
  let told: number | undefined
  for (;;) {
    const node = (await client.nodes()).find((each) => each.peerId === peerId)
    if (!node || node.state === 'disconnected') return
    const running = node.models.reduce((sum, { slotsInUse }) => sum + slotsInUse, 0)
    const isDraining = node.load?.draining === true
    if (isDraining && running === 0) return
    if (!isDraining && clock.nowMs() >= confirmByMs)
      throw new SkeinError('NODE_LOST', `${name} does not say that it drains; see: skein nodes`)
    if (running !== told) note(`${running} ${running === 1 ? 'answer runs' : 'answers run'} on ${name}`)
    told = running
    await sleep(clock, POLL_MS, signal)
  }
}

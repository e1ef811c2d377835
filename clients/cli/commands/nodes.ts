/** `skein nodes`: who is in the mesh, how fast they are, and why one may not take work. `--revoke` puts a member out. */
import { Option, type Command } from 'commander'
import type { NodeView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatBytes, formatEnergy, formatSensed, table, type Output } from '../output.ts'

export function registerNodes(program: Command): void {
  addClientOptions(program.command('nodes').description('list the members of the mesh'))
    .addOption(new Option('--revoke <member>', 'put a member (name or peer id) out of the mesh, at once and for good'))
    .action(async (options: ClientOptions & { revoke?: string }) => {
      const { output, client } = createContext(options)
      if (options.revoke !== undefined) {
        const revoked = await client().revoke(options.revoke)
        if (output.json) output.value({ revoked })
        else output.line(`${revoked.name} (${revoked.peerId}) is no member any more`)
        return
      }
      const nodes = await client().nodes()
      if (output.json) output.value(nodes)
      else output.line(renderNodes(nodes, output))
    })
}

const HEADINGS = ['NAME', 'STATE', 'MODELS', 'SPEED (prefill / decode tok/s)', 'ENERGY', 'SLOTS', 'LINK']

/** @param output what paints the heading. */
export function renderNodes(nodes: readonly NodeView[], output: Pick<Output, 'paint'>): string {
  // no column of dashes where no machine tells
  const isSensed = nodes.some((node) => sensed(node) !== '-')
  const rows = [[...HEADINGS, ...(isSensed ? ['HEAT, POWER'] : []), 'HARDWARE']]
  for (const node of nodes) {
    const served = node.access?.tenants ? ` for ${node.access.tenants.join(', ')}` : ''
    const state = node.eligible ? `eligible${served}` : `${node.state}: ${node.reasons.join(', ')}`
    const first = [`${node.name}${node.isSelf ? ' (this)' : ''}`, state]
    const machine = [link(node), ...(isSensed ? [sensed(node)] : []), hardware(node)]
    if (node.models.length === 0) rows.push([...first, '-', '-', '-', '-', ...machine])
    node.models.forEach((model, i) =>
      rows.push([
        ...(i === 0 ? first : ['', '']),
        `${model.name}${model.residency === 'resident' ? '' : ` (${model.residency})`}`,
        speed(model.speed),
        formatEnergy(model.speed?.energy),
        `${model.slotsInUse}/${model.slots}`,
        ...(i === 0 ? machine : machine.map(() => '')),
      ]),
    )
  }
  const [heading, ...lines] = table(rows).split('\n')
  return [output.paint('bold', heading!), ...lines].join('\n')
}

/** Of one that is away nobody knows how warm it is. */
const sensed = ({ state, load }: NodeView): string => (state === 'disconnected' ? '-' : formatSensed(load ?? {}))

function speed(measured: NodeView['models'][number]['speed']): string {
  if (!measured) return 'not measured yet'
  const decode = measured.decode.map((point) => `${Math.round(point.tokensPerSecond)} at ${point.sequences}`)
  return `${Math.round(measured.prefillTokensPerSecond)} / ${decode.join(', ')}`
}

function hardware(node: NodeView): string {
  if (!node.hardware) return '-'
  const { cpu, memoryBytes, gpus } = node.hardware
  const names = gpus.map((gpu) => `${gpu.name} ${formatBytes(gpu.memoryBytes)}`)
  return [`${cpu.threads} threads`, formatBytes(memoryBytes), ...names].join(', ')
}

/** `2.3 ms, 11 MiB/s`. */
function link({ link: known }: NodeView): string {
  const { roundTripMs, bytesPerSecond } = known ?? {}
  const parts = [
    ...(roundTripMs === undefined ? [] : [`${Number(roundTripMs.toPrecision(2))} ms`]),
    ...(bytesPerSecond === undefined ? [] : [`${formatBytes(bytesPerSecond)}/s`]),
  ]
  return parts.join(', ') || '-'
}

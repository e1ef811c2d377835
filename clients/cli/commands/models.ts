/** `skein models`: what the mesh can run, and where; with `--local`, what the store of this machine has. */
import { homedir } from 'node:os'
import { Option, type Command } from 'commander'
import { SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import type { ModelView, ReplicaView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions, type Context } from '../context.ts'
import { formatBytes, formatDuration, formatEnergy, table } from '../output.ts'
import { findServers } from '../upstream-options.ts'

interface ModelsOptions extends ClientOptions {
  readonly local?: boolean
  readonly found?: boolean
  readonly servers?: boolean
}

export function registerModels(program: Command): void {
  addClientOptions(program.command('models').description('list the models of the mesh, or of this machine'))
    .addOption(new Option('--local', 'what the store of this machine has, served or not'))
    .addOption(new Option('--found', 'what other programs of this machine have, to be taken over by `skein pull`'))
    .addOption(new Option('--servers', 'what servers that run here have, and what of it a node offers'))
    .action(async (options: ModelsOptions) => {
      const context = createContext(options)
      if (options.servers === true) await listServers(context)
      else if (options.found === true) await listFound(context)
      else if (options.local === true) await listStore(context)
      else await listMesh(context)
    })
}

async function listMesh({ output, client }: Context): Promise<void> {
  const models = await client().models()
  if (output.json) return output.value(models)
  if (models.length === 0) return output.note('no node has a model yet; start one with: skein node --model PATH')
  const rows = models.map((model) => [
    model.aliases[0] ?? model.digest,
    model.quantization,
    formatBytes(model.sizeBytes),
    String(model.contextTokens),
    model.features.join(' '),
    stateOf(model.replicas),
    energyOf(model),
    model.nodes.map((node) => node.name).join(', '),
  ])
  output.line(table([['NAME', 'QUANTIZATION', 'SIZE', 'CONTEXT', 'FEATURES', 'STATE', 'ENERGY', 'NODES'], ...rows]))
  for (const { aliases, digest, replicas } of models) {
    const line = orderLine(replicas)
    if (line !== undefined) output.line(`${aliases[0] ?? digest}: ${line}`)
  }
}

/** Of the node where an answer takes the least. */
function energyOf({ nodes }: ModelView): string {
  const known = nodes.flatMap(({ energy }) => energy ?? [])
  return formatEnergy(known.sort((a, b) => a.joulesPerToken - b.joulesPerToken)[0])
}

/** In memory, being loaded, on disk: at how many nodes, where that is not one alone. */
function stateOf({ resident, loading, onDisk }: ReplicaView): string {
  const states = [
    [resident, 'resident'],
    [loading, 'loading'],
    [onDisk, 'on disk'],
  ] as const
  const parts = states.filter(([count]) => count > 0)
  if (parts.length === 0) return 'away'
  if (parts.length === 1 && parts[0]![0] === 1) return parts[0]![1]
  return parts.map(([count, what]) => `${count} ${what}`).join(', ')
}

/** Why another replica is on its way, or why there is none. */
function orderLine({ order, hindrance }: ReplicaView): string | undefined {
  if (order !== undefined)
    return `${order.node.name} is to ${order.fetch ? 'fetch and load' : 'load'} it: ${order.reason}`
  return hindrance === undefined ? undefined : `another replica is wanted, but ${hindrance}`
}

async function listServers({ output }: Context): Promise<void> {
  const { printable } = await import('../../../node/models/store/index.ts')
  const servers = await findServers(process.env)
  if (output.json) return output.value(servers)
  if (servers.length === 0) return output.note('no Ollama, LM Studio, llama-server or vLLM runs on this machine')
  const rows = servers.flatMap(({ url, kind = 'nothing', why, models }) =>
    why === undefined
      ? models.map((model) => [printable(model.name), kind, url, model.isOffered ? 'offered' : `not: ${model.why}`])
      : [['', kind, url, why]],
  )
  output.line(table([['MODEL', 'KIND', 'SERVER', 'OFFERED'], ...rows]))
}

async function listFound({ output }: Context): Promise<void> {
  const { findModels, printable, programDirs } = await import('../../../node/models/store/index.ts')
  const found = await findModels(programDirs(process.env, homedir()))
  if (output.json) return output.value(found)
  if (found.length === 0) return output.note('neither Ollama nor LM Studio has a model on this machine')
  const rows = found.map(({ reference, sizeBytes, path }) => [
    printable(reference),
    formatBytes(sizeBytes),
    printable(path),
  ])
  output.line(table([['REFERENCE', 'SIZE', 'FILE'], ...rows]))
}

async function listStore({ output, dataDir }: Context): Promise<void> {
  const { ModelStore, printable } = await import('../../../node/models/store/index.ts')
  const clock = new SystemClock()
  const store = new ModelStore({ clock, random: new SystemRandom() }, dataDir)
  const [models, unfinished] = [await store.list(), await store.unfinished()]
  if (output.json) return output.value({ models, unfinished })
  if (models.length === 0 && unfinished.length === 0)
    return output.note('the store is empty; fill it with: skein pull hf:OWNER/REPOSITORY')
  const ago = (atMs: number | undefined): string =>
    atMs === undefined ? 'never' : `${formatDuration(Math.max(0, clock.wallMs() - atMs))} ago`
  const rows = models.map((model) => [
    model.name,
    model.isPresent ? formatBytes(model.sizeBytes) : 'missing',
    model.digest.slice('sha256:'.length, 'sha256:'.length + 12),
    [model.quantization, model.kind ?? model.form].filter((each) => each !== undefined && each !== '').join(' '),
    ago(model.lastUsedAtMs),
    printable(model.source),
  ])
  const parts = unfinished.map(({ name, doneBytes, sizeBytes, reference }) => [
    name,
    `${formatBytes(doneBytes)} of ${formatBytes(sizeBytes)}`,
    'unfinished',
    '',
    '',
    printable(reference),
  ])
  output.line(table([['NAME', 'SIZE', 'DIGEST', 'QUANTIZATION', 'SERVED', 'SOURCE'], ...rows, ...parts]))
}

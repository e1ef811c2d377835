/** `skein doctor`: looks at what Skein needs on this machine and says, for each thing that is wrong, what to do. */
import { Option, type Command } from 'commander'
import { silentLogger, SystemRandom, DataDir, deadline, type Clock } from '../../../mesh/runtime/index.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { Finding } from '../doctor/check.ts'
import { examine, type Surroundings } from '../doctor/examine.ts'
import { systemMachine } from '../doctor/machine.ts'
import { membershipFacts } from '../doctor/membership-facts.ts'
import { dialWith, tryListen } from '../doctor/network-checks.ts'
import { addClientOptions, createContext, type ClientOptions, type Context } from '../context.ts'
import { findCoordinator } from '../coordinator-client.ts'
import type { Output, Style } from '../output.ts'
import { isAlive } from '../service/status.ts'
import { findServers } from '../upstream-options.ts'

/** An HTTP question of the doctor's, in ms. */
const FETCH_MS = 2000
const WORDS: Readonly<Record<Finding['verdict'], readonly [string, Style]>> = {
  ok: ['ok     ', 'green'],
  warning: ['warning', 'yellow'],
  failure: ['wrong  ', 'red'],
  skipped: ['skipped', 'dim'],
}
/** Variables that no flag has. */
const OTHER_VARIABLES = ['SKEIN_DEBUG', 'SKEIN_LAUNCHED']

export function registerDoctor(program: Command): void {
  addClientOptions(program.command('doctor').description('check this machine and say what to do'))
    .addOption(new Option('--all', 'show also what was skipped'))
    .action(async (options: ClientOptions & { readonly all?: boolean }) => {
      const context = createContext(options)
      const known = new Set([...variablesOf(program), ...OTHER_VARIABLES])
      // to load code is not what the checks have their time for
      await Promise.all([import('../cloud-settings.ts'), import('../../../node/index.ts')])
      const findings = await examine(surroundingsOf(context, options, known))
      const hasFailed = findings.some(({ verdict }) => verdict === 'failure')
      if (context.output.json) context.output.value({ ok: !hasFailed, findings })
      else report(findings, context.output, options.all ?? false)
      if (hasFailed) process.exitCode = 1
    })
}

/** Of every command, however deep. */
const variablesOf = (command: Command): string[] => [
  ...command.options.flatMap(({ envVar }) => envVar ?? []),
  ...command.commands.flatMap(variablesOf),
]

function surroundingsOf(context: Context, options: ClientOptions, known: ReadonlySet<string>): Surroundings {
  const { dataDir } = context
  const machine = systemMachine()
  const client = context.client()
  const { url } = findCoordinator({ ...options, data: dataDir })
  const instance = DataDir.instance(dataDir)
  return {
    machine,
    random: new SystemRandom(),
    dataDir,
    variables: known,
    instance: instance !== undefined && isAlive(instance.pid) ? instance : undefined,
    coordinator: { url, ready: () => client.ready(), nodes: () => client.nodes(), self: () => client.self() },
    listen: tryListen,
    dial: dialWith(machine),
    fetchText: (address) => fetchText(address, machine.clock),
    membership: () => membershipFacts(dataDir),
    probeEngine: async () => {
      const { probeDevices } = await import('../../../node/index.ts')
      return probeDevices({ log: silentLogger })
    },
    store: async () => {
      const { ModelStore } = await import('../../../node/models/store/index.ts')
      return new ModelStore({ clock: machine.clock, random: new SystemRandom() }, dataDir).list()
    },
    servers: () => findServers(process.env),
    readHead: async (path) => (await import('../../../node/index.ts')).readGguf(path),
  }
}

async function fetchText(url: string, clock: Clock): Promise<string> {
  const late = (): SkeinError => new SkeinError('COORDINATOR_UNREACHABLE', `${url} does not answer`)
  const limit = deadline(clock, FETCH_MS, late)
  try {
    return (await (await fetch(url, { signal: limit.signal })).text()).slice(0, 1000)
  } finally {
    limit.cancel()
  }
}

function report(findings: readonly Finding[], output: Output, all: boolean): void {
  for (const { check, verdict, detail, next } of findings) {
    if (verdict === 'skipped' && !all) continue
    const [word, style] = WORDS[verdict]
    output.line(`${output.paint(style, word)}  ${check}: ${detail}`)
    if (next !== undefined) output.line(`         ${next}`)
  }
  const hidden = all ? 0 : findings.filter(({ verdict }) => verdict === 'skipped').length
  if (hidden > 0) output.note(`${hidden} checks were skipped; --all tells why`)
}

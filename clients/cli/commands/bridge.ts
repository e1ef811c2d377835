/** `skein bridge`: devices of another machine, told to a coordinator elsewhere. */
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { createLogger, SystemClock, SystemRandom, type LogLevel } from '../../../mesh/runtime/index.ts'
import { addBridgeOptions, type BridgeOptions } from '../bridge-options.ts'
import { announceBridge, createBridge } from '../bridging.ts'
import { addClientOptions, type ClientOptions } from '../context.ts'
import { findCoordinator } from '../coordinator-client.ts'
import { stopRequested } from '../interrupt.ts'
import { createOutput } from '../output.ts'
import { trustFiles } from '../trusted.ts'

interface Options extends ClientOptions, BridgeOptions {
  readonly name?: string
  readonly logLevel: LogLevel
}

export function registerBridge(program: Command): void {
  const command = program
    .command('bridge')
    .description('bring devices (MQTT, serial ports) to a coordinator')
    .addOption(
      new Option('--name <name>', 'name of this bridge in the mesh (default: that of the machine)').env('SKEIN_NAME'),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged to stderr')
        .env('SKEIN_LOG_LEVEL')
        .choices(['silent', 'error', 'warn', 'info', 'debug', 'trace'])
        .default('warn'),
    )
  addBridgeOptions(addClientOptions(command)).action(run)
}

async function run(options: Options): Promise<void> {
  const stop = stopRequested()
  const output = createOutput(options.json ?? false)
  const dataDir = resolve(options.data)
  const { url, trusted } = findCoordinator({ ...options, data: dataDir })
  if (trusted) trustFiles(trusted)
  const bridge = await createBridge(
    { clock: new SystemClock(true), random: new SystemRandom(), log: createLogger(options.logLevel), output },
    {
      options,
      name: options.name ?? bridgeName(),
      dataDir,
      coordinators: [url],
      // a coordinator on this machine makes another key of its own at each start
      apiKey: () => findCoordinator({ ...options, data: dataDir }).apiKey,
    },
  )
  if (bridge === undefined) throw new SkeinError('USAGE', 'nothing to bring: --mqtt and --serial are both off')
  await bridge.start()
  try {
    if (output.json) output.value({ event: 'ready', coordinator: url })
    announceBridge(bridge, options, output)
    process.exitCode = (await stop) === 'SIGINT' ? 130 : 0
  } finally {
    await bridge.stop()
  }
}

/** The machine's name, as far as it may be a bridge's. */
function bridgeName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
  return name.slice(0, 63) || 'bridge'
}

/** What every command gets: where its words go, where its data is, how to reach a coordinator, how it is interrupted. */
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { defaultDataDir, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { CoordinatorClient, findCoordinator } from './coordinator-client.ts'
import { createOutput, type Output } from './output.ts'

export interface GlobalOptions {
  readonly data: string
  readonly json?: boolean
}
export interface ClientOptions extends GlobalOptions {
  readonly url?: string
  readonly apiKey?: string
}

export interface Context {
  readonly output: Output
  readonly dataDir: string
  readonly client: () => CoordinatorClient
}

/** `--data` and `--json`, for every command. */
export function addGlobalOptions(command: Command): Command {
  return command
    .addOption(new Option('--data <dir>', 'data directory').env('SKEIN_DATA').default(defaultDataDir(), '~/.skein'))
    .addOption(new Option('--json', 'machine-readable output on stdout'))
}

/** The same, and how to reach a running coordinator. */
export function addClientOptions(command: Command): Command {
  return addGlobalOptions(command)
    .addOption(
      new Option('--url <url>', 'coordinator to talk to (default: the one in the data directory)').env('SKEIN_URL'),
    )
    .addOption(new Option('--api-key <key>', 'key of a coordinator that asks for one').env('SKEIN_API_KEY'))
}

export function createContext(options: ClientOptions): Context {
  const dataDir = resolve(options.data)
  return {
    output: createOutput(options.json ?? false),
    dataDir,
    // a clock that keeps the process alive: while an answer is resumed, nothing else does
    client: () =>
      new CoordinatorClient(findCoordinator({ ...options, data: dataDir }), new SystemClock(true), new SystemRandom()),
  }
}

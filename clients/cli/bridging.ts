/** The bridge in a process of the command line: what it is started with, and what it tells people meanwhile. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { Bridge } from '../../firmware-bridge/index.ts'
import { bridgeDoors, type BridgeOptions } from './bridge-options.ts'
import type { Output } from './output.ts'
import { printable } from './printable.ts'

/** Of the bridge, in the data directory. */
const DATABASE_FILE = 'bridge.db'

export interface BridgingComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly output: Output
}

export interface BridgingInit {
  readonly options: BridgeOptions
  /** Name of the bridge. */
  readonly name: string
  readonly dataDir: string
  readonly coordinators: readonly string[]
  readonly apiKey: () => string | undefined
}

/**
 * Makes the bridge that `init` describes; it is not started. `undefined` when every door is off.
 *
 * @throws SkeinError CONFIG_INVALID.
 */
export async function createBridge(
  { output, ...components }: BridgingComponents,
  { options, name, dataDir, coordinators, apiKey }: BridgingInit,
): Promise<Bridge | undefined> {
  const doors = bridgeDoors(options)
  if (doors === undefined) return undefined
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  // loaded here: brokers and serial ports take a while, and most starts have neither
  const { Bridge } = await import('../../firmware-bridge/index.ts')
  return new Bridge(
    components,
    { ...doors, bridge: name, database: join(dataDir, DATABASE_FILE), coordinators, apiKey },
    {
      onClaim: ({ code, chip, class: kind, where }) => {
        if (output.json) output.value({ event: 'device.claim', code, chip, class: kind, where })
        else
          output.note(
            `  a board asks to join at ${printable(where)} (${printable(kind || chip)}): skein devices approve ${printable(code)}`,
          )
      },
      onNotice: (text) => {
        if (output.json) output.value({ event: 'bridge', state: 'limited', message: text })
        else output.note(`! ${text}`)
      },
    },
  )
}

/** Says by which doors devices come in. */
export function announceBridge({ mqttAddress }: Bridge, options: BridgeOptions, output: Output): void {
  const own =
    mqttAddress && `${mqttAddress.host.includes(':') ? `[${mqttAddress.host}]` : mqttAddress.host}:${mqttAddress.port}`
  const other = options.mqtt !== undefined && /^mqtts?:/.test(options.mqtt) ? new URL(options.mqtt).host : undefined
  const mqtt = own ?? other
  if (output.json) return output.value({ event: 'bridge', state: 'ready', ...(mqtt !== undefined && { mqtt }) })
  const serial = (options.serial ?? []).filter((path) => path !== 'off')
  const doors = [...(mqtt === undefined ? [] : [`mqtt://${mqtt}`]), ...serial]
  if (doors.length > 0) output.note(`  Devices  ${doors.join(' ')}   (skein devices add NAME)`)
}

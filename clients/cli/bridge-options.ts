/** Flags of the bridge for devices, alone or inside `skein up`. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { BridgeInit, BrokerSettings, EmbeddedSettings } from '../../firmware-bridge/index.ts'

export interface BridgeOptions {
  readonly mqtt?: string
  readonly mqttUser?: string
  readonly mqttPassword?: string
  /** Path. */
  readonly mqttCa?: string
  readonly mqttPsk?: { readonly identity: string; readonly key: Uint8Array }
  readonly mqttDynsec?: boolean
  readonly serial?: readonly string[]
  readonly serialBaud?: number
  readonly serialTrust?: boolean
  /** Path. */
  readonly sensorStreams?: string
  /** Path. */
  readonly rules?: string
  readonly deviceAsks?: number
  readonly deviceTokens?: number
}

export const DEFAULT_MQTT = '127.0.0.1:1883'
const DEFAULT_BAUD = 115_200
/** What one device may ask where nobody says otherwise: a question every 5 s, and some 100 long answers a day. */
const DEFAULT_ASKS = 12
const DEFAULT_TOKENS = 50_000

const HOST_PORT = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s/]*)):(\d{1,5})$/

function mqtt(text: string): string {
  const isUrl = /^mqtts?:\/\//.test(text) && URL.canParse(text)
  const port = Number(HOST_PORT.exec(text)?.[3] ?? Number.NaN)
  if (text !== 'off' && !isUrl && !(port <= 65_535))
    throw new InvalidArgumentError('HOST:PORT of a broker of its own, mqtt://HOST or mqtts://HOST of another, or off')
  return text
}

function psk(text: string): BridgeOptions['mqttPsk'] {
  const match = /^([^:\s]{1,128}):((?:[0-9a-fA-F]{2}){8,64})$/.exec(text)
  if (!match) throw new InvalidArgumentError('IDENTITY:KEY, the key in hexadecimal, 8 to 64 bytes')
  return { identity: match[1]!, key: Buffer.from(match[2]!, 'hex') }
}

function baud(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 300 || value > 4_000_000)
    throw new InvalidArgumentError('a whole number from 300 to 4000000')
  return value
}

const upTo =
  (most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new InvalidArgumentError(`a whole number from 1 to ${most}`)
  }

export function addBridgeOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--mqtt <address>',
        `broker of devices: HOST:PORT for one of its own, mqtt[s]://HOST for yours, or off (default: ${DEFAULT_MQTT})`,
      )
        .env('SKEIN_MQTT')
        .argParser(mqtt),
    )
    .addOption(new Option('--mqtt-user <name>', 'user of the bridge at your broker').env('SKEIN_MQTT_USER'))
    .addOption(new Option('--mqtt-password <secret>', 'its password').env('SKEIN_MQTT_PASSWORD'))
    .addOption(new Option('--mqtt-ca <file>', "authority of your broker's certificate (PEM)").env('SKEIN_MQTT_CA'))
    .addOption(
      new Option('--mqtt-psk <identity:key>', 'pre-shared key in place of certificates')
        .env('SKEIN_MQTT_PSK')
        .argParser(psk),
    )
    .addOption(
      new Option(
        '--mqtt-dynsec',
        "give devices users through Mosquitto's dynamic security; --mqtt-user administers it",
      ).env('SKEIN_MQTT_DYNSEC'),
    )
    .addOption(
      new Option('--serial <path>', 'serial port with a board (repeatable); auto: every USB port; off')
        .env('SKEIN_SERIAL')
        .argParser((path: string, all: string[] | undefined) => [...(all ?? []), path])
        .default(undefined, 'off'),
    )
    .addOption(
      new Option('--serial-baud <n>', 'its speed').env('SKEIN_SERIAL_BAUD').argParser(baud).default(DEFAULT_BAUD),
    )
    .addOption(new Option('--serial-trust', 'boards at serial ports need no approval').env('SKEIN_SERIAL_TRUST'))
    .addOption(
      new Option('--sensor-streams <file>', 'rules by which models look at sensors (TOML)').env('SKEIN_SENSOR_STREAMS'),
    )
    .addOption(new Option('--rules <file>', 'rules by which readings make devices act (TOML)').env('SKEIN_RULES'))
    .addOption(
      new Option('--device-asks <n>', 'questions a minute of each device whose policy names no other number')
        .env('SKEIN_DEVICE_ASKS')
        .argParser(upTo(LIMITS.deviceAsksPerMinuteMax))
        .default(DEFAULT_ASKS),
    )
    .addOption(
      new Option('--device-tokens <n>', 'tokens a day of each device whose policy names no other number')
        .env('SKEIN_DEVICE_TOKENS')
        .argParser(upTo(LIMITS.deviceTokensPerDayMax))
        .default(DEFAULT_TOKENS),
    )
}

/** What the bridge is started with; `undefined` when every door is off. */
export function bridgeDoors(
  options: BridgeOptions,
): Pick<BridgeInit, 'mqtt' | 'serial' | 'baud' | 'isSerialTrusted' | 'quotas' | 'streams' | 'rules'> | undefined {
  const mqttChoice = mqttOf(options)
  const paths = (options.serial ?? []).filter((path) => path !== 'off')
  const serial = paths.length === 0 ? 'off' : paths.includes('auto') ? 'auto' : paths
  if (mqttChoice === 'off' && serial === 'off') return undefined
  return {
    mqtt: mqttChoice,
    serial,
    baud: options.serialBaud ?? DEFAULT_BAUD,
    isSerialTrusted: options.serialTrust ?? false,
    quotas: {
      asksPerMinute: options.deviceAsks ?? DEFAULT_ASKS,
      tokensPerDay: options.deviceTokens ?? DEFAULT_TOKENS,
    },
    ...(options.sensorStreams !== undefined && { streams: options.sensorStreams }),
    ...(options.rules !== undefined && { rules: options.rules }),
  }
}

function mqttOf(options: BridgeOptions): BrokerSettings | EmbeddedSettings | 'off' {
  const { mqtt: chosen = DEFAULT_MQTT } = options
  if (chosen === 'off') return 'off'
  const own = HOST_PORT.exec(chosen)
  if (own)
    return {
      of: 'embedded',
      host: own[1] ?? (own[2] || '127.0.0.1'),
      port: Number(own[3]),
      isOptional: options.mqtt === undefined,
    }
  return {
    of: 'broker',
    url: chosen,
    ...(options.mqttUser !== undefined && { user: options.mqttUser }),
    ...(options.mqttPassword !== undefined && { password: options.mqttPassword }),
    ...(options.mqttCa !== undefined && { caFile: options.mqttCa }),
    ...(options.mqttPsk && { psk: options.mqttPsk }),
    ...(options.mqttDynsec === true && { hasDynamicSecurity: true }),
  }
}

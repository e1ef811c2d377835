/** `--otlp`: where spans are sent, and of which requests. */
import { InvalidArgumentError, Option, type Command } from 'commander'

/** OTLP's address of traces below the one that is named. */
const TRACES_PATH = 'v1/traces'
const HEADER = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*([\x20-\x7e]*?)\s*$/
const PRINTABLE = /^[\x20-\x7e]*$/

/** As OpenTelemetry has its variable: an address below which `v1/traces` is; empty where there is none. */
function collector(text: string): URL | '' {
  if (text.trim() === '') return ''
  const url = URL.canParse(text) ? new URL(text) : undefined
  if ((url?.protocol !== 'http:' && url?.protocol !== 'https:') || url.search !== '' || url.username !== '')
    throw new InvalidArgumentError(
      'http://HOST:PORT of a collector that speaks OTLP/HTTP, such as http://127.0.0.1:4318',
    )
  return new URL(TRACES_PATH, url.href.endsWith('/') ? url.href : `${url.href}/`)
}

function share(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError('a share from 0 to 1, such as 0.1')
  return value
}

export const addTraceOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--otlp <url>', 'collector (OTLP over HTTP) that spans of requests and attempts are sent to')
        .env('OTEL_EXPORTER_OTLP_ENDPOINT')
        .argParser(collector),
    )
    .addOption(
      new Option('--otlp-ratio <share>', 'of requests that bring no trace of their own, the share that has spans')
        .env('SKEIN_OTLP_RATIO')
        .argParser(share)
        .default(1, '1'),
    )

/** Of `OTEL_EXPORTER_OTLP_HEADERS`: `name=value` with commas between, values percent-encoded. What is none is passed over. */
export function collectorHeaders(text = ''): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const pair of text.split(',')) {
    const [, name, written] = HEADER.exec(pair) ?? []
    if (name === undefined || written === undefined) continue
    const value = decoded(written)
    if (PRINTABLE.test(value)) headers[name.toLowerCase()] = value
  }
  return headers
}

/** What is not percent-encoded after all stands for itself. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** What an error of EC2 means for a launch: its codes are told apart by what is to be done. */
import { SkeinError } from '../../../../mesh/protocol/index.ts'
import { noCapacity, printable, refused, unavailable } from '../bounds.ts'

/** No machine now, in that zone, or not for that price. EC2 says so with status 500 or 400. */
const NO_CAPACITY = new Set([
  'InsufficientCapacity',
  'InsufficientHostCapacity',
  'InsufficientInstanceCapacity',
  'InsufficientReservedInstanceCapacity',
  'InsufficientFreeAddressesInSubnet',
  'SpotMaxPriceTooLow',
])
/** Refusals by their status that are none: the same call may succeed a little later. */
const PASSING = new Set([
  'EC2ThrottledException',
  'RequestExpired',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestTimeout',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
])
const THROTTLED_SECONDS = 5
const CODE = /^[A-Za-z][A-Za-z0-9._-]{0,127}$/

/** EC2's code of what was thrown, where it is from EC2. */
export function codeOf(thrown: unknown): string | undefined {
  const { name, $metadata } = thrown as { readonly name?: unknown; readonly $metadata?: unknown }
  if (typeof $metadata !== 'object' || $metadata === null || statusOf(thrown) === undefined) return undefined
  return typeof name === 'string' && CODE.test(name) ? name : undefined
}

function statusOf(thrown: unknown): number | undefined {
  const { $metadata } = thrown as { readonly $metadata?: { readonly httpStatusCode?: unknown } }
  return typeof $metadata?.httpStatusCode === 'number' ? $metadata.httpStatusCode : undefined
}

/** The error of the port for what the library has thrown. A caller's reason to stop is given back as it is. */
export function asProviderError(thrown: unknown, action: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (thrown instanceof SkeinError) return thrown
  const code = codeOf(thrown)
  const status = statusOf(thrown)
  const said = printable(String((thrown as { readonly message?: unknown }).message))
  const message = `EC2 ${action}: ${code ?? 'no answer'} (${said})`
  if (code === undefined || status === undefined) return unavailable(message, undefined, thrown)
  if (NO_CAPACITY.has(code)) return noCapacity(message, thrown)
  if (PASSING.has(code) || status === 429) return unavailable(message, THROTTLED_SECONDS, thrown)
  return status >= 400 && status < 500 ? refused(message, thrown) : unavailable(message, undefined, thrown)
}

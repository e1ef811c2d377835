/** Checks of the mesh: the coordinator, its nodes, what discovery has found, clocks and certificates. */
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { NodeView, SelfView } from '../../../coordinator/index.ts'
import { formatDuration } from '../output.ts'
import { failure, ok, skipped, warning, type Finding } from './check.ts'

/** A quarter of what certificates bear: time to mend it before members refuse each other. */
const SKEW_WARN_MS = LIMITS.clockSkewMs / 4
const DAY_MS = 86_400_000

export interface CoordinatorFacts {
  readonly url: string
  ready(): Promise<{ readonly ready: boolean; readonly reason: string }>
  nodes(): Promise<readonly Pick<NodeView, 'eligible'>[]>
  self(): Promise<SelfView>
}

/** Everything that is asked of a running coordinator. */
export async function checkCoordinator(facts: CoordinatorFacts, clock: Clock): Promise<Finding[]> {
  const { url } = facts
  try {
    const sentMs = clock.wallMs()
    const self = await facts.self()
    const roundTripMs = clock.wallMs() - sentMs
    const [{ ready, reason }, nodes] = await Promise.all([facts.ready(), facts.nodes()])
    return [
      ok('coordinator', `${url} answers; ${ready ? 'ready' : `not ready (${reason})`}`),
      nodesFinding(nodes),
      ...self.discovery.map(discoveryFinding),
      clockFinding(self.clockMs - sentMs - roundTripMs / 2, url),
    ]
  } catch (error) {
    return [unreachable(error, url), ...['nodes', 'clock'].map((check) => skipped(check, 'no coordinator was asked'))]
  }
}

function unreachable(error: unknown, url: string): Finding {
  if (!(error instanceof SkeinError)) throw error
  if (error.code === 'COORDINATOR_UNREACHABLE') return skipped('coordinator', `none answers at ${url}`)
  const next =
    error.code === 'UNAUTHENTICATED' ? 'give its key with --api-key, or SKEIN_API_KEY' : 'see its log: skein logs'
  return failure('coordinator', `${url}: ${error.message}`, next)
}

function nodesFinding(nodes: readonly Pick<NodeView, 'eligible'>[]): Finding {
  const eligible = nodes.filter((node) => node.eligible).length
  const detail = `${eligible} of ${nodes.length} members can take work`
  if (eligible > 0) return ok('nodes', detail)
  const next = 'start one with: skein node --join INVITE --model PATH; `skein nodes` tells why each cannot'
  return failure('nodes', detail, next)
}

/** As the running process tells of each way; it tries them all the time. */
function discoveryFinding({ path, detail }: SelfView['discovery'][number]): Finding {
  // mDNS is tried from here too, under its own name
  const check = path === 'mdns' ? 'discovery: mdns, as Skein uses it' : `discovery: ${path}`
  return detail === 'off' ? skipped(check, 'off') : ok(check, detail)
}

function clockFinding(offsetMs: number, url: string): Finding {
  const skewMs = Math.abs(offsetMs)
  const detail = `${formatDuration(skewMs)} ${offsetMs < 0 ? 'ahead of' : 'behind'} ${url}`
  const next = 'set the clocks of both machines (timedatectl set-ntp true): certificates and records expire by them'
  if (skewMs > LIMITS.clockSkewMs) return failure('clock', detail, next)
  return skewMs > SKEW_WARN_MS ? warning('clock', detail, next) : ok('clock', detail)
}

export interface CertificateFacts {
  readonly name: string
  readonly roles: readonly string[]
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  readonly isRevoked: boolean
}

/** The certificate by this machine's clock. */
export function checkCertificate(certificate: CertificateFacts | undefined, clock: Clock): Finding {
  const check = 'membership'
  if (certificate === undefined) return skipped(check, 'this data directory is in no mesh yet')
  const { name, roles, issuedAtMs, expiresAtMs, isRevoked } = certificate
  const nowMs = clock.wallMs()
  const again = 'let it in again: skein invite there, skein join INVITE here'
  if (isRevoked) return failure(check, `${name} was put out of the mesh by its owner`, again)
  if (nowMs < issuedAtMs - LIMITS.clockSkewMs)
    return failure(
      check,
      `the certificate of ${name} is from the future: this machine's clock is slow`,
      'set the clock',
    )
  if (nowMs > expiresAtMs) return failure(check, `the certificate of ${name} is over`, again)
  const left = formatDuration(expiresAtMs - nowMs)
  const detail = `${name}, ${roles.join(' and ')}; the certificate holds for ${left}`
  if (expiresAtMs - nowMs > DAY_MS) return ok(check, detail)
  return warning(check, detail, 'start Skein while a coordinator runs: it renews the certificate by itself')
}

/** The mesh API on machines that were launched, for the admin. */
import type { FastifyInstance } from 'fastify'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { LEASE_END_DOC, LEASES_DOC, type LEASE_PHASES } from './cloud-answer-schemas.ts'
import { listOf } from './mesh-routes.ts'

/** One launch of a machine, without its invite. */
export interface LeaseView {
  readonly id: string
  readonly pool: string
  readonly provider: string
  readonly flavour: string
  /** Of the machine and of its node. */
  readonly name: string
  /** `pending`: ordered, and not ready yet · `leaving`: released, and not gone yet. */
  readonly phase: (typeof LEASE_PHASES)[number]
  readonly why: string
  readonly orderedAtMs: number
  readonly machineId?: string
  readonly peerId?: string
  readonly readyAtMs?: number
  readonly releasedAtMs?: number
  readonly releasedWhy?: string
  readonly endedAtMs?: number
  readonly microsPerHour: number
  readonly isSpot: boolean
  /** Set aside for it in all. */
  readonly paidMicros: number
  /** Of one that has ended. */
  readonly costMicros?: number
  /** Of one in the mesh. */
  readonly running?: number
  readonly slots?: number
  /** What its provider last said against it. */
  readonly trouble?: string
}

/** Who has machines launched and ended. */
export interface LeaseDesk {
  /** Those that are open, oldest first, then those that ended last. */
  leases(): LeaseView[]
  /** Ends the machine of one, after its answers have moved. @throws SkeinError NOT_FOUND. */
  end(id: string): LeaseView
}

export interface CloudRoutesComponents {
  /** Absent where no machines are launched. */
  readonly leases?: LeaseDesk | undefined
}

export function cloudRoutes(app: FastifyInstance, { leases }: CloudRoutesComponents): void {
  app.get('/mesh/v1/leases', { config: { doc: LEASES_DOC } }, () => listOf(leases?.leases() ?? []))

  app.delete<{ Params: { id: string } }>('/mesh/v1/leases/:id', { config: { doc: LEASE_END_DOC } }, ({ params }) => {
    if (leases === undefined) throw new SkeinError('NOT_FOUND', 'this coordinator launches no machines')
    return leases.end(params.id)
  })
}

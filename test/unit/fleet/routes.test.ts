import { afterEach, describe, expect, it } from 'vitest'
import type { LeaseView } from '../../../coordinator/gateway/index.ts'
import { routeClassOf } from '../../../coordinator/gateway/callers.ts'
import { renderLeases } from '../../../clients/cli/commands/leases.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { createHarness, type Harness } from '../gateway/harness.ts'

const LEASE: LeaseView = {
  ...{ id: 'lease-a', pool: 'big', provider: 'cloud', flavour: 'l4', name: 'skein-a', phase: 'ready', why: 'waits' },
  ...{ orderedAtMs: 1_800_000_000_000, microsPerHour: 800_000, isSpot: true, paidMicros: 400_000 },
  ...{ running: 1, slots: 8 },
}
let h: Harness
afterEach(() => h.gateway.stop())

describe('/mesh/v1/leases', () => {
  it('lists machines and ends one', async () => {
    const leases = {
      leases: () => [LEASE],
      end: (id: string) => {
        if (id !== LEASE.id) throw new SkeinError('NOT_FOUND', 'no such lease')
        return { ...LEASE, phase: 'leaving' as const }
      },
    }
    h = createHarness({ leases })
    expect((await h.get('/mesh/v1/leases')).json()).toEqual({ object: 'list', data: [LEASE] })
    const ended = await h.gateway.app.inject({ method: 'DELETE', url: '/mesh/v1/leases/lease-a' })
    expect(ended.json()).toMatchObject({ id: 'lease-a', phase: 'leaving' })
    const unknown = await h.gateway.app.inject({ method: 'DELETE', url: '/mesh/v1/leases/lease-b' })
    expect(unknown.statusCode).toBe(404)
  })

  it('has none where no machines are launched, and is for admins', async () => {
    h = createHarness()
    expect((await h.get('/mesh/v1/leases')).json()).toEqual({ object: 'list', data: [] })
    expect((await h.gateway.app.inject({ method: 'DELETE', url: '/mesh/v1/leases/a' })).statusCode).toBe(404)
    expect(routeClassOf('GET', '/mesh/v1/leases')).toBe('admin')
    expect(routeClassOf('DELETE', '/mesh/v1/leases/:id')).toBe('admin')
  })

  it('is a table for people, with what is set aside until it is known what it cost', () => {
    const nowMs = LEASE.orderedAtMs + 90_000
    const ended = { ...LEASE, id: 'lease-b', phase: 'ended' as const, costMicros: 50_000, releasedWhy: 'idle\u001b[2J' }
    const [, first, second] = renderLeases([LEASE, ended], nowMs).split('\n')
    expect(first).toMatch(/lease-a .*ready .*1\/8 +0\.80\/h +0\.40 set aside +waits/)
    expect(second).toMatch(/lease-b .*0\.05 +idle/)
    expect(second).not.toContain('\u001b')
  })
})

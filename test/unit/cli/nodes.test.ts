/** What `skein nodes` says of the machines. */
import { describe, expect, it } from 'vitest'
import { renderNodes } from '../../../clients/cli/commands/nodes.ts'
import type { NodeView } from '../../../coordinator/index.ts'

const plain = { paint: (_: unknown, text: string) => text }
const node = (name: string, more: Partial<NodeView> = {}): NodeView =>
  ({
    ...{ peerId: name, name, roles: ['node'], state: 'ready', eligible: true, reasons: [], isSelf: false, labels: {} },
    certificateExpiresAtMs: 0,
    models: [],
    ...more,
  }) as unknown as NodeView
const load = (more: object): NonNullable<NodeView['load']> => ({
  ...{ sequence: 1, models: [], memoryFreeBytes: 1, cordoned: false, draining: false },
  ...more,
})
const model = { name: 'tiny', residency: 'resident', slots: 4, slotsInUse: 1 } as NodeView['models'][number]

describe('skein nodes', () => {
  it('shows heat and power of machines that tell them, once for all their models', () => {
    const text = renderNodes(
      [
        node('desk', { load: load({ temperatureCelsius: 61, watts: 38 }), models: [model, { ...model, name: 'big' }] }),
        node('pi', { load: load({ temperatureCelsius: 48 }) }),
        node('meter', { load: load({ watts: 0 }) }),
        node('old', { load: load({}) }),
      ],
      plain,
    )
    const [heading, desk, big, pi, meter, old] = text.split('\n')
    const at = heading!.indexOf('HEAT, POWER')
    const cellOf = (line: string): string => line.slice(at, heading!.indexOf('HARDWARE')).trim()
    expect([desk, big, pi, meter, old].map((line) => cellOf(line!))).toEqual(['61 °C, 38 W', '', '48 °C', '0 W', '-'])
  })

  it('has no column for what nobody tells, and does not tell it of one that is away', () => {
    const away = { state: 'disconnected', eligible: false, load: load({ temperatureCelsius: 61 }) } as const
    const text = renderNodes([node('desk', { load: load({}) }), node('lap', away), node('pi')], plain)
    expect(text).not.toMatch(/HEAT|61/)
  })
})

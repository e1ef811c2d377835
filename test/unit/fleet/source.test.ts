import { describe, expect, it } from 'vitest'
import { FleetSource } from '../../../clients/cli/cloud-fleet.ts'
import type { Base } from '../../../clients/cli/running.ts'
import type { CloudSettings, CloudSettingsSource, Coordinator, FleetSettings } from '../../../coordinator/index.ts'
import type { PeerHost } from '../../../mesh/network/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { POOL } from './support.ts'

const MESH = '12D3KooWGzBBuDSmjEFkYLyxV2dmFsQ8QYJ1g3vSjp9XkqbQ5sQA'
const hostOf = (authority: object | undefined): PeerHost =>
  ({ authority, self: { certificate: { meshId: MESH } } }) as unknown as PeerHost
const base = { clock: new ManualClock(), log: silentLogger } as unknown as Base
const AWS = { kind: 'aws', region: 'eu-central-1', keyId: 'KEY_ID', secret: 'SECRET' } as const
const settings = (region: string): CloudSettings =>
  ({ pools: [POOL], providers: { cloud: { ...AWS, region } }, flavours: {} }) as unknown as CloudSettings

/** Settings that change by hand. */
class Played {
  settings = settings('eu-central-1')
  #listener: ((settings: CloudSettings) => void) | undefined

  watch(listener: (settings: CloudSettings) => void): () => void {
    this.#listener = listener
    return () => {}
  }

  change(to: CloudSettings): void {
    this.#listener!(to)
  }
}

describe('the fleet of the cloud settings', () => {
  it('is that of the coordinator that holds the mesh key alone', () => {
    const played = new Played() as unknown as CloudSettingsSource
    expect(new FleetSource(hostOf(undefined), base).initial(played)).toEqual({})
    expect(new FleetSource(hostOf({}), base).initial(played).fleet?.pools).toEqual([POOL])
  })

  it('follows what they become, and keeps providers that did not change', () => {
    const played = new Played()
    const source = new FleetSource(hostOf({}), base)
    const first = source.initial(played as unknown as CloudSettingsSource).fleet!
    const seen: FleetSettings[] = []
    const fleet = { configure: (to: FleetSettings) => void seen.push(to) }
    source.follow({ fleet } as unknown as Coordinator, played as unknown as CloudSettingsSource)
    played.change(settings('eu-central-1'))
    played.change(settings('eu-west-1'))
    expect(seen[0]!.providers.get('cloud')).toBe(first.providers.get('cloud'))
    expect(seen[1]!.providers.get('cloud')).not.toBe(first.providers.get('cloud'))
  })
})

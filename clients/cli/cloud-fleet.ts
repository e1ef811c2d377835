/** The fleet of the cloud settings: its providers are made here, since keys are in the environment. */
import {
  createProvider,
  type CloudSettings,
  type CloudSettingsSource,
  type Coordinator,
  type FleetSettings,
  type Provider,
} from '../../coordinator/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import { asSkeinError } from '../../mesh/protocol/index.ts'
import type { Base } from './running.ts'

/**
 * Pools and providers as the settings have them. A provider that did not change stays the same object: it may have calls on
 * their way.
 */
export class FleetSource {
  readonly #host: PeerHost
  readonly #base: Base
  #providers = new Map<string, { readonly told: string; readonly provider: Provider }>()

  constructor(host: PeerHost, base: Base) {
    this.#host = host
    this.#base = base
  }

  /** @throws SkeinError CLOUD_REFUSED for a provider that cannot be made. */
  settingsOf({ pools, providers, flavours }: Pick<CloudSettings, 'pools' | 'providers' | 'flavours'>): FleetSettings {
    const before = this.#providers
    const components = { clock: this.#base.clock, environment: process.env, mesh: this.#host.self.certificate.meshId }
    this.#providers = new Map(
      Object.entries(providers).map(([name, settings]) => {
        const told = JSON.stringify([settings, flavours])
        const known = before.get(name)
        const provider = known?.told === told ? known.provider : createProvider(settings, flavours, components)
        return [name, { told, provider }]
      }),
    )
    const made = new Map(Array.from(this.#providers, ([name, { provider }]) => [name, provider] as const))
    return { pools, providers: made }
  }

  /** What the coordinator begins with; only the one that holds the mesh key launches machines, since leases are in its ledger. */
  initial({ settings }: CloudSettingsSource): { readonly fleet?: FleetSettings } {
    return this.#host.authority === undefined ? {} : { fleet: this.settingsOf(settings) }
  }

  /** From now on `coordinator` has what the settings become. */
  follow({ fleet }: Coordinator, cloud: CloudSettingsSource): void {
    cloud.watch((settings) => {
      try {
        fleet?.configure(this.settingsOf(settings))
      } catch (thrown) {
        this.#base.log.warn({ err: asSkeinError(thrown) }, 'the fleet keeps its settings')
      }
    })
  }
}

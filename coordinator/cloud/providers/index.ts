/** Those who launch machines, by the kind in the settings. */
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { Provider } from '../provider.ts'
import { AwsProvider } from './aws/aws-provider.ts'
import type { Environment } from './bounds.ts'
import { ScalewayProvider } from './scaleway/scaleway-provider.ts'
import type { FlavourSettings, ProviderKind, ProviderSettings } from './settings.ts'
import { SshProvider } from './ssh/ssh-provider.ts'

export {
  flavoursOf,
  FlavoursSchema,
  providersOf,
  ProvidersSchema,
  type FlavourSettings,
  type ProviderSettings,
} from './settings.ts'

export interface ProviderComponents {
  readonly clock: Clock
  /** The process's variables, in which keys are looked up. */
  readonly environment: Environment
  /** Id of the mesh: machines of others are never touched. */
  readonly mesh: string
}

/**
 * A provider of the settings. Nothing is connected to or loaded before it is first asked. Flavours of other kinds are none of its own.
 *
 * @param flavours by their names.
 * @throws SkeinError CLOUD_REFUSED for a mesh whose id could not stand in a lease.
 */
export function createProvider(
  settings: ProviderSettings,
  flavours: Readonly<Record<string, FlavourSettings>>,
  components: ProviderComponents,
): Provider {
  const of = <K extends ProviderKind>(kind: K): ReadonlyMap<string, Extract<FlavourSettings, { kind: K }>> =>
    new Map(
      Object.entries(flavours).filter(
        (entry): entry is [string, Extract<FlavourSettings, { kind: K }>] => entry[1].kind === kind,
      ),
    )
  if (settings.kind === 'aws') return new AwsProvider(settings, of('aws'), components)
  if (settings.kind === 'scaleway') return new ScalewayProvider(settings, of('scaleway'), components)
  return new SshProvider(settings, of('ssh'), components)
}

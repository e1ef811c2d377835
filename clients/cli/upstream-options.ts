/** `--upstream`: servers that run models already, and whether they are looked for. */
import { InvalidArgumentError, Option } from 'commander'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Tier } from '../../mesh/protocol/index.ts'
import type { InspectedServer, NamedServer, UpstreamModelsInit } from '../../node/index.ts'

/** One `--upstream`. */
export type UpstreamChoice = 'auto' | 'off' | { readonly url: string; readonly variable?: string }

const SERVERS_MAX = 16

/** `auto`, `off` or `URL[,VARIABLE]`; of the variable several with spaces between them. */
export function upstreamChoices(text: string, before: readonly UpstreamChoice[] = []): UpstreamChoice[] {
  const choices = [...before, ...text.trim().split(/\s+/).map(choice)]
  if (choices.length > 1 && choices.includes('off')) throw new InvalidArgumentError('off goes with nothing else')
  if (choices.length > SERVERS_MAX) throw new InvalidArgumentError(`at most ${SERVERS_MAX} servers`)
  return choices
}

function choice(text: string): UpstreamChoice {
  if (text === 'auto' || text === 'off') return text
  const [, url, variable] = /^(https?:\/\/[^\s,]+)(?:,([A-Za-z_][A-Za-z0-9_]{0,127}))?$/.exec(text) ?? []
  if (url === undefined || !URL.canParse(url))
    throw new InvalidArgumentError('auto, off or URL[,VARIABLE], such as http://127.0.0.1:11434')
  return { url, ...(variable !== undefined && { variable }) }
}

export const upstreamOption = (): Option =>
  new Option('--upstream <choice>', 'servers here whose models are offered: auto, off or URL[,VARIABLE] (repeatable)')
    .env('SKEIN_UPSTREAM')
    .argParser(upstreamChoices)
    .default(undefined, 'auto')

export interface Upstream {
  readonly init: UpstreamModelsInit
  /** By address. */
  readonly keys: ReadonlyMap<string, string>
  /** By address, where more is to be said of a server than its key. */
  readonly servers?: ReadonlyMap<string, NamedServer>
}

/**
 * What a node is told.
 *
 * @throws SkeinError CONFIG_INVALID for an address that is none, a variable that is not set, and a server that may be on
 *   the internet, unless the node counts as rented: what is local-only would leave the owner's machines.
 */
export async function upstreamOf(
  choices: readonly UpstreamChoice[] | undefined,
  tier: Tier | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Upstream> {
  const { isOnOwnNetwork, serverUrl } = await import('../../node/index.ts')
  const given = choices ?? ['auto']
  const named: NamedServer[] = []
  for (const each of given) {
    if (typeof each === 'string') continue
    const url = serverUrl(each.url)
    if (tier !== 'cloud' && !isOnOwnNetwork(url))
      throw new SkeinError(
        'CONFIG_INVALID',
        `--upstream ${url}: not an address of your own network; a node for it has to say so with --tier cloud`,
      )
    const key = each.variable === undefined ? undefined : environment[each.variable]
    if (each.variable !== undefined && !key)
      throw new SkeinError('CONFIG_INVALID', `--upstream ${url}: the variable ${each.variable} is not set`)
    named.push({ url, ...(key && { key }) })
  }
  const keys = new Map(named.flatMap(({ url, key }): [string, string][] => (key ? [[url, key]] : [])))
  return { init: { isAuto: given.includes('auto'), named }, keys }
}

/** What a node that is started now with the settings of `environment` would find. */
export async function findServers(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<readonly InspectedServer[]> {
  const [{ SystemClock }, { inspectUpstream }] = await Promise.all([
    import('../../mesh/runtime/index.ts'),
    import('../../node/index.ts'),
  ])
  const text = environment['SKEIN_UPSTREAM'] ?? ''
  const { init } = await upstreamOf(text === '' ? undefined : upstreamChoices(text), 'cloud', environment)
  const found = await inspectUpstream(new SystemClock(), init)
  // most machines have nothing at most of the usual addresses
  return found.filter(({ kind, isNamed }) => kind !== undefined || isNamed)
}

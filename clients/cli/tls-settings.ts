/** Which certificate the gateway shows: given files, one of the local authority, or none. */
import { hostname, networkInterfaces } from 'node:os'
import { resolve } from 'node:path'
import { SkeinError } from '../../mesh/protocol/index.ts'
import {
  createAuthority,
  FileTlsSource,
  LocalTlsSource,
  readAuthority,
  type TlsSource,
} from '../../coordinator/index.ts'
import type { Base } from './running.ts'
import type { ServeOptions } from './serve-options.ts'

type TlsOptions = Pick<ServeOptions, 'tls' | 'tlsCert' | 'tlsKey' | 'http'>

/** @throws SkeinError CONFIG_INVALID when the flags do not fit together, or the local authority is damaged. */
export async function tlsSource(
  options: TlsOptions,
  { data, clock, random, log }: Base,
): Promise<TlsSource | undefined> {
  const { tls = 'off', tlsCert, tlsKey, http } = options
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new SkeinError('CONFIG_INVALID', '--tls-cert and --tls-key belong together: give both')
  if (tlsCert !== undefined && tlsKey !== undefined) {
    if (tls === 'local')
      throw new SkeinError(
        'CONFIG_INVALID',
        'a certificate is given or local, not both: leave --tls local or --tls-cert out',
      )
    return new FileTlsSource(clock, { cert: resolve(tlsCert), key: resolve(tlsKey) })
  }
  if (tls === 'off') return undefined
  if ((await readAuthority(data.path)) === undefined) {
    const { subject } = await createAuthority({ clock, random }, data.path, { host: hostLabel(), also: [] })
    log.scope('trust').info({ subject }, 'made a local authority')
  }
  return new LocalTlsSource({ clock, random }, { dataDir: data.path, names: () => machineNames(http.host) })
}

/** The machine's name without its domain, as far as it may stand in a certificate. */
export const hostLabel = (): string =>
  hostname()
    .split('.')[0]!
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63) || 'skein'

/** Names and addresses by which this machine may be reached; `host` is what the gateway was told to listen on. */
export function machineNames(host: string): string[] {
  const label = hostLabel()
  const full = hostname().toLowerCase()
  const addresses = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address))
  const names = ['localhost', label, `${label}.local`, ...(isName(full) ? [full] : []), ...(isName(host) ? [host] : [])]
  // in one order, whatever order the system has them in
  return [...names, '127.0.0.1', '::1', ...addresses.map((each) => each.replace(/%.*$/, '')).toSorted()]
}

const isName = (text: string): boolean =>
  /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(text) && !/^[\d.]+$/.test(text)

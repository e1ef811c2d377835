/**
 * Scaleway Instances, by their HTTP API.
 *
 * It knows no idempotency key. A machine is made stopped, with the order's token as a tag; before one is made, and again before
 * one is started, all with that tag are looked for, and of several the first one counts and the others, which never ran, are
 * taken away. So a launch whose answer was lost makes no second one that runs.
 *
 * Block storage outlives its machine, and is billed on. Volumes get the mesh's tag before their machine is told to go, and
 * are listed as a machine that is `stopping` until a further `terminate` has taken them away, whoever calls it.
 */
import type { Clock } from '../../../../mesh/runtime/index.ts'
import { checkOrder, flavourOf, keyOf, refused, Turns, unavailable, type Environment } from '../bounds.ts'
import { MACHINES_MAX, type LaunchOrder, type Machine, type Provider, type Quote } from '../../provider.ts'
import { userData } from '../user-data.ts'
import { microsOf } from '../worker-settings.ts'
import {
  readServer,
  readServers,
  readTypes,
  readVolumes,
  stateOf,
  timeOf,
  type Server,
  type ServerType,
  type Volume,
} from './answers.ts'
import { ScalewayApi } from './api.ts'
import type { ScalewayFlavour, ScalewaySettings } from './settings.ts'

/** Its lists are those of the database that it writes to; some seconds for whatever stands between. */
const SETTLE_MS = 10_000
const AGAIN_SECONDS = 10
const PAGE = 100
const PAGES_MAX = 20
const GIGABYTE = 1_000_000_000
const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
const PRICES_KEPT_MS = 600_000
const MACHINE_ID = /^([a-z]{2}-[a-z]{3}-\d)\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

const MESH = 'skein-mesh='
const TOKEN = 'skein-token='
const SERVER = 'skein-server='
const valueOf = (tags: readonly string[], name: string): string | undefined =>
  tags.find((tag) => tag.startsWith(name))?.slice(name.length)

export interface ScalewayComponents {
  readonly clock: Clock
  readonly environment: Environment
  /** Id of the mesh: the tag of its machines. */
  readonly mesh: string
}

interface Page<T> {
  readonly items: readonly T[]
  /** Of all pages. */
  readonly total: number
}

interface Placed {
  readonly zone: string
  readonly server: Server
}

export class ScalewayProvider implements Provider {
  readonly settleMs = SETTLE_MS
  readonly #settings: ScalewaySettings
  readonly #flavours: ReadonlyMap<string, ScalewayFlavour>
  readonly #clock: Clock
  readonly #mesh: string
  readonly #api: ScalewayApi
  readonly #turns = new Turns()
  #prices: { readonly atMs: number; readonly types: Readonly<Record<string, ServerType>> } | undefined

  constructor(
    settings: ScalewaySettings,
    flavours: ReadonlyMap<string, ScalewayFlavour>,
    { clock, environment, mesh }: ScalewayComponents,
  ) {
    this.#settings = settings
    this.#flavours = flavours
    this.#clock = clock
    this.#mesh = mesh
    this.#api = new ScalewayApi({ endpoint: settings.endpoint, key: () => keyOf(environment, settings.key), clock })
  }

  async quote(name: string, signal: AbortSignal): Promise<Quote> {
    signal.throwIfAborted()
    const { pricePerHour, extrasPerHour, billedStepSeconds, type, readyMinutes } = flavourOf(this.#flavours, name)
    const listed = pricePerHour === undefined ? await this.#listedType(type, signal) : undefined
    const stepMs = (listed?.gpu ?? 0) > 0 ? MINUTE_MS : HOUR_MS
    return {
      microsPerHour: microsOf(pricePerHour ?? (listed?.hourly_price ?? 0) + (extrasPerHour ?? 0)),
      billedStepMs: billedStepSeconds === undefined ? stepMs : billedStepSeconds * 1000,
      billedLeastMs: 0,
      readyMs: Math.ceil(readyMinutes * MINUTE_MS),
      isSpot: false,
    }
  }

  launch(order: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    return this.#turns.take(order.token, async () => {
      signal.throwIfAborted()
      checkOrder(order)
      const flavour = flavourOf(this.#flavours, order.flavour)
      const before = await this.#ofToken(order.token, signal)
      if (before) return this.#started(before, flavour, order, signal)
      let full: unknown
      for (const zone of this.#settings.zones)
        try {
          return await this.#launchIn(zone, flavour, order, signal)
        } catch (thrown) {
          if ((thrown as { readonly code?: unknown }).code !== 'CLOUD_NO_CAPACITY') throw thrown
          full = thrown
        }
      throw full
    })
  }

  async get(machineId: string, signal: AbortSignal): Promise<Machine | undefined> {
    signal.throwIfAborted()
    const found = await this.#find(machineId, signal)
    if (found) return this.#isOurs(found.server.tags) ? machineOf(found) : undefined
    const [zone, id] = placeOf(machineId) ?? []
    if (zone === undefined || id === undefined) return undefined
    return (await this.#leftovers(zone, new Set(), signal)).find((machine) => machine.id === machineId)
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    signal.throwIfAborted()
    const machines: Machine[] = []
    for (const zone of this.#settings.zones) {
      const servers = await this.#servers(zone, [`${MESH}${this.#mesh}`], signal)
      const here = servers.map((server) => machineOf({ zone, server }))
      machines.push(...here, ...(await this.#leftovers(zone, new Set(here.map(({ id }) => id)), signal)))
      if (machines.length > MACHINES_MAX) throw unavailable(`Scaleway: more than ${MACHINES_MAX} machines of this mesh`)
    }
    return machines
  }

  /** Nothing to do: the mesh asks the worker itself. */
  async drain(_machineId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
  }

  async terminate(machineId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const found = await this.#find(machineId, signal)
    if (found) {
      if (!this.#isOurs(found.server.tags)) throw refused(`Scaleway: ${machineId} is no machine of this mesh`)
      await this.#markVolumes(found, signal)
      if (!(await this.#remove(found, signal))) return
    }
    const [zone, id] = placeOf(machineId) ?? []
    if (zone !== undefined && id !== undefined) await this.#removeVolumes(zone, id, signal)
  }

  async #launchIn(zone: string, flavour: ScalewayFlavour, order: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    const { status, body } = await this.#api.ask(
      { method: 'POST', path: instances(zone, '/servers'), body: this.#request(flavour, order) },
      signal,
    )
    if (status === 404) throw refused(`Scaleway: ${zone} has no such type or image, or there is no such zone`)
    const made = { zone, server: readServer(body).server }
    // another process may have made one meanwhile: both see both, and take the same one
    const first = (await this.#ofToken(order.token, signal)) ?? made
    try {
      return await this.#started(first, flavour, order, signal)
    } catch (thrown) {
      if ((thrown as { readonly code?: unknown }).code !== 'CLOUD_NO_CAPACITY') throw thrown
      // nothing was launched, and nothing may be left of it; volumes that are not free yet are listed, and go later
      await this.#markVolumes(first, signal)
      await this.#remove(first, signal)
      await this.#removeVolumes(first.zone, first.server.id, signal).catch(() => {})
      throw thrown
    }
  }

  #request({ type, machineImage, securityGroup, diskGb, models }: ScalewayFlavour, order: LaunchOrder): object {
    return {
      name: order.name,
      project: this.#settings.project,
      commercial_type: type,
      image: machineImage,
      tags: [`${MESH}${this.#mesh}`, `${TOKEN}${order.token}`],
      // an address of its own is given back with the machine; it needs one to dial out
      dynamic_ip_required: true,
      protected: false,
      ...(securityGroup !== undefined && { security_group: securityGroup }),
      volumes: {
        0: { boot: true, volume_type: 'sbs_volume', size: diskGb * GIGABYTE },
        ...(models !== undefined && {
          1: { volume_type: 'sbs_volume', base_snapshot: models, name: `${order.name}-models` },
        }),
      },
    }
  }

  /** The one machine of a token; others with it, which never ran, are taken away. */
  async #ofToken(token: string, signal: AbortSignal): Promise<Placed | undefined> {
    const found: Placed[] = []
    for (const zone of this.#settings.zones)
      for (const server of await this.#servers(zone, [`${MESH}${this.#mesh}`, `${TOKEN}${token}`], signal))
        found.push({ zone, server })
    found.sort(
      (a, b) =>
        rankOf(a) - rankOf(b) ||
        timeOf(a.server.creation_date) - timeOf(b.server.creation_date) ||
        (a.server.id < b.server.id ? -1 : 1),
    )
    const [first, ...others] = found
    for (const other of others) if (other.server.state === 'stopped') await this.terminate(machineOf(other).id, signal)
    return first
  }

  /** Starts one that was made and not started yet: told what to run first. */
  async #started(
    { zone, server }: Placed,
    flavour: ScalewayFlavour,
    order: LaunchOrder,
    signal: AbortSignal,
  ): Promise<Machine> {
    if (server.state !== 'stopped') return machineOf({ zone, server })
    const path = instances(zone, `/servers/${server.id}`)
    const text = userData(flavour.worker, order, 'scaleway')
    await this.#done({ method: 'PATCH', path: `${path}/user_data/cloud-init`, body: text }, signal)
    await this.#done({ method: 'POST', path: `${path}/action`, body: { action: 'poweron' } }, signal)
    return machineOf({ zone, server })
  }

  async #done(
    asked: { method: 'PATCH' | 'POST'; path: string; body: object | string },
    signal: AbortSignal,
  ): Promise<void> {
    const { status } = await this.#api.ask(asked, signal)
    if (status === 404) throw unavailable('Scaleway: the machine that was made is not to be seen', AGAIN_SECONDS)
  }

  async #find(machineId: string, signal: AbortSignal): Promise<Placed | undefined> {
    const [zone, id] = placeOf(machineId) ?? []
    if (zone === undefined || id === undefined || !this.#settings.zones.includes(zone)) return undefined
    const { status, body } = await this.#api.ask({ method: 'GET', path: instances(zone, `/servers/${id}`) }, signal)
    return status === 404 ? undefined : { zone, server: readServer(body).server }
  }

  #isOurs(tags: readonly string[]): boolean {
    return valueOf(tags, MESH) === this.#mesh
  }

  #servers(zone: string, tags: readonly string[], signal: AbortSignal): Promise<Server[]> {
    const query = `project=${this.#settings.project}&tags=${encodeURIComponent(tags.join(','))}&per_page=${PAGE}`
    return this.#pages(
      instances(zone, `/servers?${query}`),
      (body) => {
        const { servers, total_count: total } = readServers(body)
        return { items: servers, total }
      },
      signal,
    )
  }

  async #volumes(zone: string, tag: string, signal: AbortSignal): Promise<Volume[]> {
    const query = `project_id=${this.#settings.project}&tags=${encodeURIComponent(tag)}&page_size=${PAGE}`
    return this.#pages(
      blocks(zone, `?${query}`),
      (body) => {
        const { volumes, total_count: total } = readVolumes(body)
        return { items: volumes, total }
      },
      signal,
    )
  }

  /** All of a list, whatever length of pages the server allows. */
  async #pages<T>(path: string, read: (body: unknown) => Page<T>, signal: AbortSignal): Promise<T[]> {
    const items: T[] = []
    for (let page = 1; page <= PAGES_MAX; page++) {
      const { status, body } = await this.#api.ask({ method: 'GET', path: `${path}&page=${page}` }, signal)
      if (status === 404) throw refused(`Scaleway: there is no ${path.split('?')[0]}`)
      const got = read(body)
      items.push(...got.items)
      if (items.length >= got.total) return items
      if (got.items.length === 0) break
    }
    throw unavailable('Scaleway: a list that does not end')
  }

  /** Volumes whose machine is gone, as machines that are on their way out. */
  async #leftovers(zone: string, servers: ReadonlySet<string>, signal: AbortSignal): Promise<Machine[]> {
    const found = new Map<string, Machine>()
    for (const { tags, created_at: createdAt } of await this.#volumes(zone, `${MESH}${this.#mesh}`, signal)) {
      const id = `${zone}/${valueOf(tags, SERVER)}`
      if (servers.has(id) || placeOf(id) === undefined) continue
      found.set(id, { id, token: valueOf(tags, TOKEN) ?? '', state: 'stopping', launchedAtMs: timeOf(createdAt) })
    }
    return [...found.values()]
  }

  async #markVolumes({ zone, server }: Placed, signal: AbortSignal): Promise<void> {
    const tags = [`${MESH}${this.#mesh}`, `${TOKEN}${valueOf(server.tags, TOKEN) ?? ''}`, `${SERVER}${server.id}`]
    for (const { id, volume_type: type } of Object.values(server.volumes))
      if (type === 'sbs_volume')
        await this.#api.ask({ method: 'PATCH', path: blocks(zone, `/${id}`), body: { tags } }, signal)
  }

  /** True when it is gone at once: it never ran. */
  async #remove({ zone, server }: Placed, signal: AbortSignal): Promise<boolean> {
    const path = instances(zone, `/servers/${server.id}`)
    if (server.state === 'stopping') return false
    if (server.state === 'stopped') {
      await this.#api.ask({ method: 'DELETE', path }, signal)
      return true
    }
    try {
      await this.#api.ask({ method: 'POST', path: `${path}/action`, body: { action: 'terminate' } }, signal)
    } catch (thrown) {
      if (server.state === 'starting' && (thrown as { readonly code?: unknown }).code === 'CLOUD_REFUSED')
        throw unavailable('Scaleway: a machine that starts cannot be ended yet', AGAIN_SECONDS, thrown)
      throw thrown
    }
    return false
  }

  /** @throws SkeinError CLOUD_UNAVAILABLE while one of them is not free yet. */
  async #removeVolumes(zone: string, serverId: string, signal: AbortSignal): Promise<void> {
    for (const { id, status } of await this.#volumes(zone, `${SERVER}${serverId}`, signal)) {
      if (status === 'deleting' || status === 'deleted') continue
      if (status !== 'available' && status !== 'error')
        throw unavailable('Scaleway: a volume of the machine is not free yet', AGAIN_SECONDS)
      await this.#api.ask({ method: 'DELETE', path: blocks(zone, `/${id}`) }, signal)
    }
  }

  /** The type in the provider's public list. @throws SkeinError CLOUD_REFUSED when it is not in it. */
  async #listedType(type: string, signal: AbortSignal): Promise<ServerType> {
    if (this.#prices === undefined || this.#prices.atMs + PRICES_KEPT_MS <= this.#clock.nowMs()) {
      const types: Record<string, ServerType> = Object.create(null) as Record<string, ServerType>
      const path = instances(this.#settings.zones[0]!, `/products/servers?per_page=${PAGE}`)
      const read = (body: unknown): Page<[string, ServerType]> => {
        const { servers, total_count: total } = readTypes(body)
        return { items: Object.entries(servers), total }
      }
      for (const [name, listed] of await this.#pages(path, read, signal)) types[name] = listed
      this.#prices = { atMs: this.#clock.nowMs(), types }
    }
    const listed = this.#prices.types[type]
    if (listed === undefined) throw refused(`Scaleway's list has no price of ${type}; give pricePerHour`)
    return listed
  }
}

const instances = (zone: string, path: string): string => `/instance/v1/zones/${zone}${path}`
const blocks = (zone: string, path: string): string => `/block/v1/zones/${zone}/volumes${path}`

/** One that has been started comes before those that never were. */
const rankOf = ({ server }: Placed): number => (server.state === 'stopped' ? 1 : 0)

const placeOf = (machineId: string): [zone: string, id: string] | undefined => {
  const [, zone, id] = MACHINE_ID.exec(machineId) ?? []
  return zone === undefined || id === undefined ? undefined : [zone, id]
}

const machineOf = ({ zone, server }: Placed): Machine => ({
  id: `${zone}/${server.id}`,
  token: valueOf(server.tags, TOKEN) ?? '',
  state: stateOf(server),
  launchedAtMs: timeOf(server.creation_date),
})

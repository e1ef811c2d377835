/** What callers may do with devices, and devices as callers: their bridge asks in their name. */
import { SkeinError, type DeviceLevel } from '../../mesh/protocol/index.ts'
import { DEVICE_TENANT, type Access, type Caller } from '../access/index.ts'
import { isWithin, type Devices } from '../devices/index.ts'

/** An admin may do all; a key what it was made for. */
export const deviceLevelOf = ({ isAdmin, grant }: Caller): DeviceLevel => (isAdmin ? 'act' : (grant.devices ?? 'none'))

/** What a tenant may do with devices now that was let do `then`: nothing once its key was revoked, or is over. */
export const standingOf =
  (access: Access) =>
  (tenant: string, then: DeviceLevel): DeviceLevel => {
    const grant = { routes: ['inference'], models: [], priority: 'bulk', localOnly: true, devices: then } as const
    try {
      return deviceLevelOf(access.standing(tenant, grant))
    } catch {
      return 'none'
    }
  }

/** @throws SkeinError FORBIDDEN. */
export function checkLevel(caller: Caller, needed: Exclude<DeviceLevel, 'none'>): void {
  if (isWithin(needed, deviceLevelOf(caller))) return
  throw new SkeinError('FORBIDDEN', `this key may not ${needed} devices; it was made without --devices ${needed}`)
}

/**
 * The device that a bridge asks for, as a caller: its share, its rates, and what its owner's policy allows.
 *
 * @param header `x-skein-device`.
 * @throws SkeinError FORBIDDEN for whoever is no bridge, and for devices that may not ask; INVALID_REQUEST for one that is not
 *   known.
 */
export function inNameOf(caller: Caller, header: string | string[], devices: Devices): Caller {
  const { grant, isAdmin } = caller
  if (!isAdmin && !grant.routes.includes('bridge'))
    throw new SkeinError('FORBIDDEN', 'only a bridge may ask in the name of a device: its key has routes of that class')
  const device = typeof header === 'string' ? devices.get(header) : undefined
  if (device === undefined)
    throw new SkeinError('INVALID_REQUEST', 'x-skein-device must be the id of a device that was reported', {
      param: 'x-skein-device',
    })
  const { id, policy } = device.descriptor
  if (!policy.ask) throw new SkeinError('FORBIDDEN', `the policy of ${id} does not let it ask`)
  const routes = ['inference'] as const
  return {
    tenant: `${DEVICE_TENANT}${id}`,
    grant: { ...grant, routes, localOnly: grant.localOnly || policy.local_only },
    isAdmin: false,
  }
}

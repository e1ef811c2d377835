/** Readings of a device over a time, and as they come in. */
import { useEffect } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'
import { readingOf, type DeviceShown, type ReadingShown } from './devices-model.ts'
import type { HouseGateway } from './ports.ts'
import { rowsOf } from './reading.ts'
import { useResource, type Resource } from './resource.ts'

/** Points of a line that is drawn, at most: what a screen is wide. */
const READINGS_MAX = 2000

/** @param name of one capability alone. */
export function useHistory(
  gateway: HouseGateway,
  { id, policy }: Pick<DeviceShown, 'id' | 'policy'>,
  sinceMs: number,
  name?: string,
): Resource<readonly ReadingShown[]> {
  const readings = useResource(
    async (signal) => {
      if (!policy.read) return [] as readonly ReadingShown[]
      const query = new URLSearchParams({
        since_ms: String(Math.max(0, Math.floor(systemClock.nowMs() - sinceMs))),
        limit: String(READINGS_MAX),
        ...(name !== undefined && { name }),
      })
      const path = `/mesh/v1/devices/${encodeURIComponent(id)}/history?${query.toString()}`
      return rowsOf(await gateway.get(path, signal), readingOf) as readonly ReadingShown[]
    },
    [gateway, id, sinceMs, name, policy.read],
  )
  const { set } = readings
  useEffect(
    () =>
      gateway.events.subscribe(['device.reading'], (event) => {
        if (event.type !== 'device.reading' || event['device'] !== id) return
        const reading = readingOf({ name: event['name'], value: event['value'], atMs: event['readAtMs'] })
        if (reading === undefined || (name !== undefined && reading.name !== name)) return
        set((now) => now && [...now, reading].slice(-READINGS_MAX))
      }),
    [gateway, id, name],
  )
  return readings
}

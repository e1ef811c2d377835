/** The devices, kept as they are by events; asked for anew where an event does not say enough. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'
import { afterEvent, bridgesOf, callsOf, devicesOf, type CallShown, type DeviceShown } from './devices-model.ts'
import type { HouseGateway } from './ports.ts'
import { useResource, type Resource } from './resource.ts'

/** What comes at once is asked for once. */
const GATHER_MS = 250

/** Events of readings are thinned: a value that changed twice within a second is known by asking. */
const SETTLE_MS = 3000

const EVENTS = ['device', 'events.missed'] as const

export interface Devices extends Resource<readonly DeviceShown[]> {
  /** Names of those that are connected; undefined while nobody has said. */
  readonly bridges: readonly string[] | undefined
}

export function useDevices(gateway: HouseGateway): Devices {
  const [bridges, setBridges] = useState<readonly string[]>()
  const devices = useResource(
    async (signal) => {
      const answer = await gateway.get('/mesh/v1/devices', signal)
      if (!signal.aborted) setBridges(bridgesOf(answer))
      return devicesOf(answer) as readonly DeviceShown[]
    },
    [gateway],
  )
  const { set, reload } = devices
  useEffect(() => {
    let cancel: (() => void) | undefined
    let cancelSettling: (() => void) | undefined
    const settle = (): void => {
      cancelSettling ??= systemClock.after(SETTLE_MS, () => {
        cancelSettling = undefined
        reload()
      })
    }
    const soon = (): void => {
      cancel ??= systemClock.after(GATHER_MS, () => {
        cancel = undefined
        reload()
      })
    }
    const stop = gateway.events.subscribe(EVENTS, (event) => {
      const isOfDevices = event.type.startsWith('device.') || event.type === 'events.missed'
      if (!isOfDevices || event.type === 'device.claim' || event.type === 'device.task') return
      if (event.type === 'device.reading') settle()
      if (event.type === 'device.bridge') soon()
      set((now) => {
        const after = now && afterEvent(now, event)
        if (after === undefined) soon()
        return after ?? now
      })
    })
    return () => {
      stop()
      cancel?.()
      cancelSettling?.()
    }
  }, [gateway])
  return { ...devices, bridges }
}

/** Calls that wait for a person, as they come and go. */
export function useWaitingCalls(gateway: HouseGateway): Resource<readonly CallShown[]> {
  const calls = useResource(
    async (signal) => callsOf(await gateway.get('/mesh/v1/calls', signal)) as readonly CallShown[],
    [gateway],
  )
  useEvents(gateway, ['device.call', 'events.missed'], calls.reload)
  return calls
}

/**
 * Runs `onEvent` for events of these types, at most once in a moment.
 *
 * @param device only those of this one.
 */
export function useEvents(gateway: HouseGateway, types: readonly string[], onEvent: () => void, device?: string): void {
  const latest = useRef(onEvent)
  latest.current = onEvent
  useEffect(() => {
    let cancel: (() => void) | undefined
    const stop = gateway.events.subscribe(types, (event) => {
      if (!types.some((type) => event.type === type || event.type.startsWith(`${type}.`))) return
      if (device !== undefined && event['device'] !== device) return
      cancel ??= systemClock.after(GATHER_MS, () => {
        cancel = undefined
        latest.current()
      })
    })
    return () => {
      stop()
      cancel?.()
    }
  }, [gateway, types.join(), device])
}

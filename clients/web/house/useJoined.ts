/** Members that come while the page is looked at. */
import { useEffect, useRef } from 'preact/hooks'
import type { HouseGateway } from './ports.ts'
import { textOf } from './reading.ts'

export function useJoined(gateway: HouseGateway, onJoined: (name: string) => void): void {
  const latest = useRef(onJoined)
  latest.current = onJoined
  useEffect(
    () =>
      gateway.events.subscribe(['node.joined'], (event) => {
        const name = textOf(event['name'])
        if (event.type === 'node.joined' && name !== undefined) latest.current(name)
      }),
    [gateway],
  )
}

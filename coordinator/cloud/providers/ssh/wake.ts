/** Wake-on-LAN: a packet that a sleeping machine's network card awaits. Nobody answers it. */
import { createSocket } from 'node:dgram'
import { unavailable } from '../bounds.ts'
import type { WakeSettings } from './settings.ts'

const PORT = 9
const REPEATS = 16

/** Six bytes of ones, then the card's address sixteen times. */
export const wakePacket = (mac: string): Buffer => {
  const address = Buffer.from(mac.replaceAll(':', ''), 'hex')
  return Buffer.concat([Buffer.alloc(6, 0xff), ...Array.from({ length: REPEATS }, () => address)])
}

/** @throws SkeinError CLOUD_UNAVAILABLE when it cannot be sent. */
export function wake({ mac, address, port = PORT }: WakeSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    const failed = (cause: Error): void => {
      socket.close()
      reject(unavailable(`the packet that wakes a machine cannot be sent (${cause.message})`, undefined, cause))
    }
    socket.once('error', failed)
    socket.bind(() => {
      socket.setBroadcast(true)
      socket.send(wakePacket(mac), port, address, (cause) => {
        if (cause) return failed(cause)
        socket.close(() => resolve())
      })
    })
  })
}

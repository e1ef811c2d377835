/**
 * For which names and addresses the local authority may vouch: those that no public authority vouches for. Whoever trusts
 * it, and whoever steals its key, gets no further than the house. Pure.
 */
import { isIP, isIPv4 } from 'node:net'

/** Domains that are nobody's on the internet; a name that ends with one is permitted too. */
export const PRIVATE_DOMAINS = ['localhost', 'local', 'lan', 'home', 'home.arpa', 'internal'] as const

/** A block of addresses: the first, and how many bits of it hold. */
export interface AddressBlock {
  readonly address: string
  readonly bits: number
}

/** Loopback, private, shared (of carriers and VPNs), link-local, and their like of IPv6. */
export const PRIVATE_BLOCKS: readonly AddressBlock[] = [
  { address: '127.0.0.0', bits: 8 },
  { address: '10.0.0.0', bits: 8 },
  { address: '172.16.0.0', bits: 12 },
  { address: '192.168.0.0', bits: 16 },
  { address: '169.254.0.0', bits: 16 },
  { address: '100.64.0.0', bits: 10 },
  { address: '::1', bits: 128 },
  { address: 'fc00::', bits: 7 },
  { address: 'fe80::', bits: 10 },
]

/** What an authority may vouch for. */
export interface Permitted {
  readonly domains: readonly string[]
  readonly blocks: readonly AddressBlock[]
}

/** @param names more that are permitted, as whole names with what ends with them, or single addresses. */
export function permittedWith(names: readonly string[]): Permitted {
  const addresses = names.filter((name) => isIP(name) !== 0)
  const domains = names.filter((name) => isIP(name) === 0).map((name) => name.toLowerCase())
  return {
    domains: [...new Set([...PRIVATE_DOMAINS, ...domains])],
    blocks: [
      ...PRIVATE_BLOCKS,
      ...addresses
        .filter((address) => !PRIVATE_BLOCKS.some((block) => isInside(address, block)))
        .map((address) => ({ address, bits: isIPv4(address) ? 32 : 128 })),
    ],
  }
}

/** Whether an authority with `permitted` may vouch for a name or address. */
export function isPermitted(name: string, { domains, blocks }: Permitted): boolean {
  if (isIP(name) !== 0) return blocks.some((block) => isInside(name, block))
  return domains.some((domain) => name === domain || name.endsWith(`.${domain}`))
}

export function isInside(address: string, block: AddressBlock): boolean {
  const [own, other] = [addressBytes(address), addressBytes(block.address)]
  const mask = maskBytes(block)
  return (
    own.length === other.length && own.every((byte, index) => (byte & mask[index]!) === (other[index]! & mask[index]!))
  )
}

/** 4 or 16 bytes, as the network has them. */
export function addressBytes(address: string): Uint8Array {
  if (isIPv4(address)) return Uint8Array.from(address.split('.'), Number)
  // the browser's own way to write it: no zone, no dots, and `::` once at most
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)))
  const [first, last] = [groups(head), groups(tail ?? '')]
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

/** As many bits of ones as hold, in the length of the address. */
export function maskBytes({ address, bits }: AddressBlock): Uint8Array {
  return addressBytes(address).map((_, index) => (0xff << (8 - Math.min(8, Math.max(0, bits - 8 * index)))) & 0xff)
}

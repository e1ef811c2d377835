/** What kind of disk a path is on, as Linux tells it. */
import type { Machine } from './machine.ts'

export interface Mount {
  readonly point: string
  readonly type: string
  /** `MAJOR:MINOR` of its device. */
  readonly device: string
}

const NETWORK_TYPES = /^(nfs|cifs|smb|9p|afs|ceph|glusterfs|lustre|davfs|fuse\.(sshfs|s3fs|rclone|gvfsd|glusterfs))/

/** The mount that `path` is on, of `/proc/self/mountinfo` (proc(5)): the longest point that holds it, the last of equals. */
export function mountOf(mountinfo: string, path: string): Mount | undefined {
  let best: Mount | undefined
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ')
    const fields = before!.split(' ')
    const point = fields[4]?.replaceAll(/\\([0-7]{3})/g, (_match, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    )
    if (point === undefined || after === undefined) continue
    const holds = point === '/' || path === point || path.startsWith(`${point}/`)
    if (holds && point.length >= (best?.point.length ?? 0))
      best = { point, type: after.split(' ')[0]!, device: fields[2]! }
  }
  return best
}

export const isNetworkMount = ({ type }: Mount): boolean => NETWORK_TYPES.test(type)

/** `spinning disk`, `solid state`; `undefined` where the system does not tell. */
export async function speedClass(machine: Machine, { device, type }: Mount): Promise<string | undefined> {
  if (type === 'tmpfs' || type === 'ramfs') return 'memory: nothing there outlives a restart'
  const base = `/sys/dev/block/${device}`
  // of a partition the queue is its disk's
  const rotational =
    (await machine.text(`${base}/queue/rotational`)) ?? (await machine.text(`${base}/../queue/rotational`))
  if (rotational === undefined) return undefined
  return rotational.trim() === '1' ? 'spinning disk' : 'solid state'
}

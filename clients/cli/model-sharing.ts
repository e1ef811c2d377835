/** What a running process does about models beside serving them: gives them to members, and asks members for commands. */
import type { Lifecycle } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import {
  createModelShare,
  LocalDoor,
  MeshAsker,
  type DoorAddress,
  type SharedModel,
  type Shelf,
} from '../../node/models/share/index.ts'
import { ModelStore } from '../../node/models/store/index.ts'
import type { Base } from './running.ts'
import type { ServeOptions } from './serve-options.ts'

/**
 * Starts both; returns how commands find the door.
 *
 * @throws SkeinError PORT_IN_USE, LISTEN_FAILED for a port that the owner named.
 */
export async function startModelSharing(
  { host, agent }: { readonly host: PeerHost; readonly agent: NodeAgent | undefined },
  options: ServeOptions,
  base: Base,
  lifecycle: Lifecycle,
): Promise<DoorAddress | undefined> {
  const { clock, random, log, data } = base
  const shared = { clock, random, log, transport: host }
  if (agent !== undefined && options.shareModels !== 'off') {
    const store = new ModelStore({ clock, random }, data.path)
    const share = createModelShare(
      {
        ...shared,
        shelf: shelfOf(agent, store),
        addresses: () => host.addresses(),
        isBusy: () => isBusy(agent),
        refusal: () => agent.status().policy?.reason,
      },
      {
        listen: options.listen,
        ...(options.sharePort !== undefined && { port: options.sharePort }),
        ...(options.shareRate !== undefined && { busyBytesPerSecond: options.shareRate }),
      },
    )
    await lifecycle.start(share)
  }
  const asker = new MeshAsker({ ...shared, discovery: host })
  const door = await lifecycle.start(
    new LocalDoor({ ...shared, asker, isBusy: () => isBusy(agent), busyBytesPerSecond: options.shareRate }),
  )
  return door.address
}

/** Whether answers stream on this node. */
const isBusy = (agent: NodeAgent | undefined): boolean => agent !== undefined && agent.status().running > 0

/** What the node serves, and what lies in the store. */
function shelfOf(agent: NodeAgent, store: ModelStore): Shelf {
  return async () => {
    const stored = await store.list()
    const shelf = new Map<string, SharedModel>()
    for (const { name, digest, path, isPresent, references, sizeBytes, quantization, parts } of stored) {
      if (!isPresent) continue
      const before = shelf.get(digest)
      const names = [...(before?.names ?? []), name]
      shelf.set(digest, {
        digest,
        path,
        sizeBytes,
        quantization,
        names,
        references: [...(before?.references ?? []), ...references],
        ...(parts && { parts }),
      })
    }
    for (const { path, parts, capability } of agent.models()) {
      const { digest, aliases, engine, sizeBytes, quantization, parameters, contextTokens } = capability
      if (engine !== 'llama' && engine !== 'onnx') continue
      const before = shelf.get(digest)
      shelf.set(digest, {
        digest,
        path,
        sizeBytes: parts?.files.reduce((sum, file) => sum + file.sizeBytes, 0) ?? sizeBytes,
        quantization,
        names: [...new Set([...(before?.names ?? []), ...aliases])],
        references: before?.references ?? [],
        parameters,
        contextTokens,
        ...(parts && { parts }),
      })
    }
    return [...shelf.values()]
  }
}

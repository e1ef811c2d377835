/** Entry of the hashing thread (`hash-thread.ts`): SHA-256 of what it is shown, in the order in which it is asked. */
import { createHash, type Hash } from 'node:crypto'
import { constants, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'

/** What is asked. `hash` is the number of a hash over several pieces, which the first of them begins. */
export type HashRequest =
  | { readonly id: number; readonly kind: 'digest'; readonly bytes: Uint8Array }
  | { readonly id: number; readonly kind: 'update'; readonly hash: number; readonly bytes: Uint8Array }
  | { readonly id: number; readonly kind: 'finish' | 'drop'; readonly hash: number }

/** `digest` where one was asked for. */
export interface HashAnswer {
  readonly id: number
  readonly digest?: Uint8Array
}

export interface HashWorkerInit {
  /** Whether all other work of the machine goes before. */
  readonly isBackground: boolean
}

// on Linux a priority is that of the calling thread; elsewhere it would be that of the whole process
if ((workerData as HashWorkerInit).isBackground && process.platform === 'linux')
  setPriority(constants.priority.PRIORITY_LOW)

const port = parentPort!
const hashes = new Map<number, Hash>()

function answer(request: HashRequest): Uint8Array | undefined {
  if (request.kind === 'digest') return createHash('sha256').update(request.bytes).digest()
  const hash = hashes.get(request.hash) ?? createHash('sha256')
  if (request.kind === 'update') {
    hashes.set(request.hash, hash.update(request.bytes))
    return undefined
  }
  hashes.delete(request.hash)
  return request.kind === 'finish' ? hash.digest() : undefined
}

port.on('message', (request: HashRequest) => {
  const digest = answer(request)
  port.postMessage({ id: request.id, ...(digest !== undefined && { digest }) } satisfies HashAnswer)
})

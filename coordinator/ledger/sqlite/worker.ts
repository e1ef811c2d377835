/**
 * Entry of the ledger's worker: the one writer. It waits for the disk, so that no other part has to; it holds nothing
 * that was acknowledged and is not on the disk.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { copyLedger } from './copy.ts'
import type { FromWorker, Request, WorkerInit } from './messages.ts'
import { isFailure } from './schema.ts'
import { Store } from './store.ts'

const port = parentPort!
const init = workerData as WorkerInit
const say = (message: FromWorker): void => port.postMessage(message)

if (init.work === 'copy') {
  const copied = copyLedger(init.path, init.target)
  say(isFailure(copied) ? { type: 'failed', failure: copied } : { type: 'copied', facts: copied })
} else {
  const store = Store.open(init.path)
  if (isFailure(store)) say({ type: 'failed', failure: store })
  else {
    say({ type: 'opened', epoch: store.epoch })
    port.on('message', (requests: readonly Request[]) => {
      for (const answers of store.run(requests)) say({ type: 'answers', answers })
      if (requests.some(({ name }) => name === 'close')) port.close()
    })
  }
}

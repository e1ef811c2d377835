/** Entry of the database's worker: it waits for the disk, so that no device has to. */
import { parentPort, workerData } from 'node:worker_threads'
import type { FromWorker, Request, WorkerInit } from './messages.ts'
import { Writer } from './writer.ts'

const port = parentPort!
const say = (message: FromWorker): void => port.postMessage(message)

const writer = Writer.open(workerData as WorkerInit)
if (writer instanceof Writer) {
  say({ type: 'opened' })
  port.on('message', (requests: readonly Request[]) => {
    for (const answers of writer.run(requests)) say({ type: 'answers', answers })
    if (requests.some((request) => 'close' in request)) port.close()
  })
} else say({ type: 'failed', failure: writer })

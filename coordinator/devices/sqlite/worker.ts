/** Entry of the worker that has the devices' database: it waits for the disk, so that no other part has to. */
import { parentPort, workerData } from 'node:worker_threads'
import { DeviceDatabase, failureOf } from './database.ts'
import type { FromWorker, Request, WorkerInit } from './messages.ts'

const port = parentPort!
const init = workerData as WorkerInit
const say = (message: FromWorker): void => port.postMessage(message)

try {
  const database = new DeviceDatabase(init)
  say({ type: 'opened' })
  port.on('message', (requests: readonly Request[]) => {
    say({ type: 'answers', answers: database.run(requests) })
    if (requests.some(({ name }) => name === 'close')) port.close()
  })
} catch (error) {
  say({ type: 'failed', failure: failureOf(error, init.path) })
}

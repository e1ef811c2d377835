/** Entry of the worker that has the mailboxes' database: it waits for the disk, so that no other part has to. */
import { parentPort, workerData } from 'node:worker_threads'
import { failureOf, MailboxDatabase } from './database.ts'
import type { FromWorker, Request, WorkerInit } from './types.ts'

const port = parentPort!
const init = workerData as WorkerInit
const say = (message: FromWorker): void => port.postMessage(message)

try {
  const database = new MailboxDatabase(init)
  say({ type: 'opened' })
  port.on('message', (request: Request) => {
    say({ type: 'answer', answer: database.run(request) })
    if (request.name === 'close') port.close()
  })
} catch (error) {
  say({ type: 'failed', failure: failureOf(error, init.path) })
}

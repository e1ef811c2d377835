/**
 * A process that admits tasks for as long as it lives: `node test/integration/ledger-writer.ts LEDGER`. Prints the id of
 * each task once it is acknowledged with its first checkpoint.
 */
import { openLedger } from '../../coordinator/ledger/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { asTaskId, mintId } from '../../mesh/protocol/index.ts'
import { admitted, checkpointed } from '../compliance/ledger.samples.ts'

const CALLERS = 16

const random = new SystemRandom()
const ledger = await openLedger({ clock: new SystemClock(), log: silentLogger }, { path: process.argv[2]! })
await Promise.all(
  Array.from({ length: CALLERS }, async () => {
    for (;;) {
      const taskId = asTaskId(mintId('task', (length) => random.bytes(length)))
      await ledger.admit(admitted({ taskId }))
      await ledger.append([checkpointed(taskId, 0, 2)])
      await new Promise((resolve) => process.stdout.write(`${taskId}\n`, resolve))
    }
  }),
)

import { join } from 'node:path'
import { ASKS_SCHEMA, SqlAskStore } from '../../firmware-bridge/asks/index.ts'
import { openDatabase, type SqliteDatabase } from '../../firmware-bridge/store/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { silentLogger } from '../../mesh/runtime/index.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'
import { MemoryAskStore } from '../unit/bridge-asks/support.ts'
import { askStoreSuite } from './ask-store.suite.ts'

askStoreSuite('memory', () => Promise.resolve({ store: new MemoryAskStore() }))

askStoreSuite('the database of the bridge', async () => {
  const path = join(await temporaryDirectory(), 'bridge.db')
  const open = (): Promise<SqliteDatabase> =>
    openDatabase({ log: silentLogger }, { path, parts: [ASKS_SCHEMA], bytesMax: LIMITS.bridgeStoreBytesMax })
  let database = await open()
  after(() => database.close())
  return {
    store: new SqlAskStore(database),
    reopen: async () => {
      await database.close()
      database = await open()
      return new SqlAskStore(database)
    },
  }
})

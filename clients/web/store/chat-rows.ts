/**
 * The messages of a chat for who watches them: read whole when something of the chat has changed for good, and otherwise
 * only those that still grow. An answer that is kept twice a second would else read all of a long chat each time.
 */
import { isFinal } from './check.ts'
import type { Database } from './database.ts'
import type { MessageRow } from './types.ts'

/** @returns a read for `liveQuery`, which hears of changes from all tabs, as what it reads each time covers them all. */
export function rowsOf(db: Database, chatId: string): () => Promise<readonly MessageRow[]> {
  let state: string | undefined
  let rows: readonly MessageRow[] = []
  return () =>
    db.transaction('r', [db.chats, db.messages], async () => {
      // each operation on a chat writes its row, with another count of changes
      const now = JSON.stringify(await db.chats.get(chatId))
      const grown = now === state ? await grownOf(db, rows) : undefined
      rows = grown ?? (await allOf(db, chatId))
      state = now
      return rows
    })
}

export const allOf = (db: Database, chatId: string): PromiseLike<MessageRow[]> =>
  db.messages.where('[chatId+createdAtMs]').between([chatId, 0], [chatId, Infinity]).toArray()

/** `rows`, with what is kept by now of those that were not final; undefined where one is gone. */
async function grownOf(db: Database, rows: readonly MessageRow[]): Promise<readonly MessageRow[] | undefined> {
  const open = rows.filter(({ status }) => !isFinal(status))
  const now = new Map<string, MessageRow>()
  for (const row of await db.messages.bulkGet(open.map(({ chatId, id }) => [chatId, id]))) {
    if (row === undefined) return undefined
    now.set(row.id, row)
  }
  return rows.map((row) => now.get(row.id) ?? row)
}

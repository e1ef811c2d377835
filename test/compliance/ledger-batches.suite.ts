/** What every ledger promises of files and batches, run against each engine as a part of `ledger.suite.ts`. */
import { describe, expect, it } from 'vitest'
import type { BatchEvent, Ledger } from '../../coordinator/ledger/index.ts'
import type { LedgerPlace } from './ledger.suite.ts'

interface BatchesSuite {
  readonly ledger: Ledger
  readonly place: LedgerPlace
  readonly reopen: () => Promise<void>
}

const fileAdded = (id: string): BatchEvent => ({
  ...{ type: 'file.added', atMs: 1, id, tenant: 'key:a', name: 'in.jsonl', purpose: 'batch', bytes: 7, expiresAtMs: 9 },
})

const history = (id: string): BatchEvent[] => [
  {
    type: 'batch.created',
    atMs: 2,
    id,
    tenant: 'key:a',
    grant: { routes: ['inference'], models: ['*'], priority: 'bulk', localOnly: true, tokensPerDay: 5 },
    endpoint: '/v1/embeddings',
    inputFileId: 'file-a',
    window: '24h',
    expiresAtMs: 3,
    metadata: { a: 'b', ['__proto__']: 'c' },
    outputFileId: 'file-b',
    errorFileId: 'file-c',
    outputRetentionMs: 4,
  },
  { type: 'batch.begun', atMs: 3, id, total: 2, models: ['tiny'], model: 'tiny' },
  { type: 'batch.failed', atMs: 4, id, problems: [{ code: 'x', message: 'y', param: 'z', line: 1 }] },
  { type: 'batch.cancelling', atMs: 5, id },
  { type: 'batch.finalizing', atMs: 6, id },
  {
    type: 'batch.ended',
    atMs: 7,
    id,
    status: 'cancelled',
    counts: { total: 2, completed: 1, failed: 1 },
    tokens: { inputTokens: 1, cachedTokens: 2, outputTokens: 3, thoughtTokens: 4 },
    hasOutput: true,
    hasErrors: false,
  },
]

export function batchesSuite(at: () => BatchesSuite): void {
  describe('files and batches', () => {
    it('keeps every field of every event over a crash, in their order', async () => {
      const events = [fileAdded('file-a'), ...history('batch_a')]
      await at().ledger.recordBatches(events.slice(0, 3))
      await at().ledger.recordBatches(events.slice(3))
      await at().ledger.recordBatches([])
      await at().reopen()
      expect(await at().ledger.batchEvents()).toEqual(events)
    })

    it('has them all, however many', async () => {
      const events = Array.from({ length: 2500 }, (_, i) => fileAdded(`file-${i}`))
      await at().ledger.recordBatches(events)
      expect(await at().ledger.batchEvents()).toEqual(events)
    })

    it('forgets those that are named, and no others', async () => {
      const kept = fileAdded('file-b')
      await at().ledger.recordBatches([fileAdded('file-a'), ...history('batch_a'), kept])
      await at().ledger.forgetBatches(['file-a', 'batch_a', 'unknown'])
      await at().reopen()
      expect(await at().ledger.batchEvents()).toEqual([kept])
    })

    it('has them in its backup', async () => {
      await at().ledger.recordBatches(history('batch_a'))
      const facts = await at().ledger.backup(at().place.path('copy'))
      expect(facts.batchEvents).toBe(6)
      const copy = await at().place.openBackup('copy')
      try {
        expect(await copy.batchEvents()).toEqual(history('batch_a'))
      } finally {
        await copy.close()
      }
    })
  })
}

import { describe, expect, it } from 'vitest'
import { progressOf, renderBatch, renderBatches } from '../../../clients/cli/commands/batches.ts'
import type { BatchView } from '../../../coordinator/index.ts'

const BATCH: BatchView = {
  id: 'batch_a',
  object: 'batch',
  endpoint: '/v1/embeddings',
  errors: null,
  input_file_id: 'file-in',
  completion_window: '24h',
  status: 'in_progress',
  output_file_id: null,
  error_file_id: null,
  created_at: 1000,
  in_progress_at: 1001,
  expires_at: 87_400,
  finalizing_at: null,
  completed_at: null,
  failed_at: null,
  expired_at: null,
  cancelling_at: null,
  cancelled_at: null,
  request_counts: { total: 8, completed: 2, failed: 1 },
  metadata: null,
}

describe('skein batches', () => {
  it('says how far one is', () => {
    expect(progressOf(BATCH)).toBe('in_progress: 2 of 8 answered, 1 failed (37 %)')
    const empty = { ...BATCH, request_counts: { total: 0, completed: 0, failed: 0 } }
    expect(progressOf(empty)).toBe('in_progress: 0 of 0 answered, 0 failed')
  })

  it('lists them', () => {
    expect(renderBatches([BATCH], 1_060_000).split('\n')).toEqual([
      'BATCH    STATE        LINES  ANSWERED  FAILED  ENDPOINT        MADE',
      'batch_a  in_progress  8      2         1       /v1/embeddings  1 min ago',
    ])
  })

  it('shows what is wrong with an input', () => {
    const data = [
      { code: 'invalid_json_line', message: 'No JSON.', param: null, line: 3 },
      { code: 'empty_file', message: 'Nothing.', param: null, line: null },
    ]
    const shown = renderBatch({ ...BATCH, status: 'failed', errors: { object: 'list', data } })
    expect(shown).toContain('line 3    No JSON.')
    expect(shown).toContain('problem   Nothing.')
  })
})

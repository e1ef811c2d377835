/** A batch from its input to its end, over crashes, waits and a full disk: every line has one result in the end. */
import { appendFile, readdir, readFile, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { answered, BatchesPlace, failed, hangs, inputLine, turns } from './batches.harness.ts'

let place: BatchesPlace
beforeEach(async () => {
  place = await BatchesPlace.make()
})
afterEach(() => place.remove())

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `line-${i}`)
const lines = (count: number): string[] => names(count).map((name) => inputLine(name))

describe('a batch', () => {
  it('answers every line once, and counts', async () => {
    const batch = await place.ended(await place.create(lines(100)))
    expect(batch).toMatchObject({
      status: 'completed',
      model: 'tiny',
      counts: { total: 100, completed: 100, failed: 0 },
      tokens: { inputTokens: 200, outputTokens: 300 },
      hasOutput: true,
      hasErrors: false,
    })
    const output = await place.output(batch.outputFileId)
    expect(output.map(({ custom_id }) => custom_id).toSorted()).toEqual(names(100).toSorted())
    for (const { custom_id, response, error } of output) {
      expect(response?.body.said).toBe(custom_id)
      expect(error).toBeNull()
    }
    expect(new Set(output.map(({ id }) => id)).size).toBe(100)
    expect(place.desk.asked).toHaveLength(100)
    expect(await readdir(place.directory)).not.toContain(batch.errorFileId)
    expect(place.batches.files.get(batch.outputFileId)).toMatchObject({ purpose: 'batch_output', tenant: 'one' })
  })

  it('asks no more at once than there is room for', async () => {
    place.desk.rooms = 3
    place.desk.answer = async (line) => {
      await turns(2)
      return answered(line)
    }
    await place.ended(await place.create(lines(30)))
    expect(place.desk.most).toBe(3)
    place.desk.rooms = 1000
    await place.ended(await place.create(lines(200)))
    // some of them are being written meanwhile
    expect(place.desk.most).toBeGreaterThan(LIMITS.batchLinesAskedMax / 2)
    expect(place.desk.most).toBeLessThanOrEqual(LIMITS.batchLinesAskedMax)
  })

  it('puts errors into a file of their own', async () => {
    place.desk.answer = (line) => (line.number % 2 ? failed('INVALID_REQUEST') : answered(line))
    const batch = await place.ended(await place.create(lines(10)))
    expect(batch.counts).toEqual({ total: 10, completed: 5, failed: 5 })
    const errors = await place.output(batch.errorFileId)
    expect(errors.map(({ response, error }) => [response?.status_code, error])).toEqual(Array(5).fill([400, null]))
    expect(await place.output(batch.outputFileId)).toHaveLength(5)
  })

  it('fails by its input with the lines that are wrong, and asks nothing', async () => {
    const batch = await place.ended(await place.create([inputLine('a'), '{', inputLine('a')]))
    expect(batch.status).toBe('failed')
    expect(batch.problems).toMatchObject([
      { code: 'invalid_json_line', line: 2 },
      { code: 'duplicate_custom_id', line: 3 },
    ])
    expect(place.desk.asked).toEqual([])
  })

  it('waits for what the mesh lacks, and asks again what failed by it, in a request of its own', async () => {
    place.desk.answer = (line) => {
      const before = place.desk.asked.filter(({ number }) => number === line.number).length
      if (line.number === 1 && before <= 5) return failed('SATURATED', { isAdmitted: false })
      if (line.number === 2 && before <= 2) return failed('ATTEMPTS_EXHAUSTED')
      if (line.number === 3) return failed('ATTEMPTS_EXHAUSTED')
      return answered(line)
    }
    const batch = await place.ended(await place.create(lines(4)))
    const attempts = (number: number) =>
      place.desk.asked.filter((each) => each.number === number).map((each) => each.attempt)
    expect(attempts(1)).toEqual([1, 1, 1, 1, 1, 1])
    expect(attempts(2)).toEqual([1, 2, 3])
    expect(attempts(3)).toEqual([1, 2, 3])
    expect(batch.counts).toEqual({ total: 4, completed: 3, failed: 1 })
  })

  it('waits for a model that it knew when it began, and for no other', async () => {
    let isAway = true
    place.desk.answer = (line) =>
      line.number === 2 || isAway ? failed('MODEL_NOT_FOUND', { isAdmitted: false }) : answered(line)
    const batch = await place.create([inputLine('a'), inputLine('b', { model: 'unknown' })])
    await place.until(() => place.batches.countsOf(batch).failed === 1)
    await place.clock.advance(60_000)
    expect(place.batches.countsOf(batch)).toEqual({ total: 2, completed: 0, failed: 1 })
    isAway = false
    expect((await place.ended(batch)).counts).toEqual({ total: 2, completed: 1, failed: 1 })
  })
})

describe('a batch that ends before its time', () => {
  it('is cancelled: what runs is told, and every line has a word', async () => {
    place.desk.answer = (line, signal) => (line.number <= 3 ? answered(line) : hangs(line, signal))
    const made = await place.create(lines(200))
    await place.until(() => place.batches.countsOf(made).completed === 3)
    expect((await place.batches.cancel(made)).status).toBe('cancelling')
    const batch = await place.ended(made)
    expect(batch).toMatchObject({ status: 'cancelled', counts: { total: 200, completed: 3, failed: 197 } })
    const errors = await place.output(batch.errorFileId)
    expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set(['batch_cancelled']))
    const all = [...errors, ...(await place.output(batch.outputFileId))].map(({ custom_id }) => custom_id)
    expect(all.toSorted()).toEqual(names(200).toSorted())
    expect((await place.batches.cancel(batch)).status).toBe('cancelled')
  })

  it('expires with its window, a crash between or not', async () => {
    place.desk.answer = hangs
    const made = await place.create(lines(5), 3_600_000)
    await place.until(() => place.desk.asked.length === 5)
    await place.crash()
    await place.clock.advance(3_600_000)
    place.desk.answer = hangs
    await place.start()
    const batch = await place.ended(made)
    expect(batch).toMatchObject({ status: 'expired', counts: { total: 5, completed: 0, failed: 5 } })
    expect((await place.output(batch.errorFileId)).map(({ error }) => error?.code)).toEqual(
      Array(5).fill('batch_expired'),
    )
    expect(place.desk.asked).toEqual([])
  })
})

describe('after a crash', () => {
  it('goes on with the lines that have no result, under the same keys', async () => {
    place.desk.answer = (line, signal) => (line.number <= 40 ? answered(line) : hangs(line, signal))
    const made = await place.create(lines(100))
    await place.until(() => place.batches.countsOf(made).completed === 40)
    const before = place.desk.asked.filter(({ number }) => number > 40)
    await place.crash()
    await place.start()
    const batch = await place.ended(made)
    expect(batch).toMatchObject({
      status: 'completed',
      counts: { total: 100, completed: 100 },
      tokens: { inputTokens: 200 },
    })
    const again = place.desk.asked.map(({ number }) => number)
    expect(again.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 41))
    const { batchId, attempt } = place.desk.asked.find(({ number }) => number === before[0]!.number)!
    expect({ batchId, attempt }).toEqual({ batchId: before[0]!.batchId, attempt: before[0]!.attempt })
    expect(new Set((await place.output(batch.outputFileId)).map(({ custom_id }) => custom_id)).size).toBe(100)
  })

  it('cuts off what was half written, wherever the disk stopped', async () => {
    place.desk.answer = (line, signal) => (line.number <= 2 ? answered(line) : hangs(line, signal))
    const made = await place.create(lines(3))
    await place.until(() => place.batches.countsOf(made).completed === 2)
    const path = join(place.directory, made.outputFileId)
    const whole = await readFile(path)
    for (const junk of ['{"id":"batch_req_', 'junk\n', '{"id":"batch_req_aaaaaaaaaaaaaaaaaaaaaaaa_3",\n']) {
      await place.crash()
      await appendFile(path, junk)
      place.desk.answer = hangs
      await place.start()
      await place.until(() => place.desk.asked.length === 1)
      expect(place.desk.asked[0]!.number).toBe(3)
      expect(await readFile(path)).toEqual(whole)
      expect(place.batches.files.usedBytes).toBeGreaterThan(whole.length)
    }
    await place.crash()
    await truncate(path, whole.length - 1)
    await place.start()
    const batch = await place.ended(made)
    expect((await place.output(batch.outputFileId)).map(({ custom_id }) => custom_id)).toEqual(names(3).toSorted())
  })

  it('ends a batch that had all its results, and one that was being cancelled', async () => {
    const done = await place.create(lines(3))
    const ending = place.ledger.recordBatches.bind(place.ledger)
    place.ledger.recordBatches = (events) =>
      events.some(({ type }) => type === 'batch.finalizing') ? new Promise(() => undefined) : ending(events)
    await place.until(() => place.batches.countsOf(done).completed === 3)
    await place.crash()
    place.desk.answer = hangs
    await place.start()
    expect((await place.ended(done)).status).toBe('completed')
    expect(place.desk.asked).toEqual([])
  })

  it('begins a batch that had not begun when its nodes are back', async () => {
    const recorded = place.ledger.recordBatches.bind(place.ledger)
    place.ledger.recordBatches = (events) =>
      events.some(({ type }) => type === 'batch.begun') ? new Promise(() => undefined) : recorded(events)
    const made = await place.create(lines(3))
    await place.crash()
    place.desk.models = []
    await place.start()
    await turns(20)
    await place.clock.advance(2000)
    expect(place.batches.get(made.id)!.status).toBe('validating')
    place.desk.models = ['tiny']
    expect(await place.ended(made)).toMatchObject({ status: 'completed', models: ['tiny'] })
  })

  it('says of a batch whose input is gone that it has failed, as after a restored backup', async () => {
    place.desk.answer = hangs
    const made = await place.create(lines(3))
    await place.until(() => place.desk.asked.length === 3)
    await place.crash()
    await rm(place.directory, { recursive: true })
    await place.start()
    expect(await place.ended(made)).toMatchObject({ status: 'failed', problems: [{ code: 'input_file_lost' }] })
    expect(place.batches.files.list()).toEqual([])
  })

  it('deletes blobs that no event names', async () => {
    const upload = await place.batches.files.upload()
    await upload.write(Buffer.from('half'))
    await place.crash()
    await place.start()
    expect(await readdir(place.directory)).toEqual([])
    expect(place.batches.files.usedBytes).toBe(0)
    await upload.discard()
  })
})

describe('files', () => {
  it('take no more room than they may have, and give it back', async () => {
    place.diskBytesMax = 1000
    await place.batches.stop()
    await place.start()
    const id = await place.upload('x'.repeat(900))
    await expect(place.upload('y'.repeat(101))).rejects.toMatchObject({ code: 'FILE_STORE_FULL' })
    expect(await readdir(place.directory)).toEqual([id])
    await place.batches.deleteFile(id)
    await place.upload('y'.repeat(1000))
    expect(place.batches.files.usedBytes).toBe(1000)
  })

  it('are kept while a batch reads them', async () => {
    place.desk.answer = hangs
    const batch = await place.create(lines(1))
    await expect(place.batches.deleteFile(batch.inputFileId)).rejects.toMatchObject({ code: 'FILE_IN_USE' })
    await place.batches.cancel(batch)
    await place.ended(batch)
    await place.batches.deleteFile(batch.inputFileId)
    expect(await place.ledger.batchEvents()).not.toContainEqual(expect.objectContaining({ id: batch.inputFileId }))
  })

  it('go when their time is over, and batches after theirs', async () => {
    const batch = await place.ended(await place.create(lines(1)))
    await place.clock.advance(LIMITS.fileRetentionMs - 7_200_000)
    expect(place.batches.files.list()).toHaveLength(2)
    await place.until(
      () => place.batches.files.list().length === 0 && place.batches.get(batch.id) === undefined,
      () => place.clock.advance(3_600_000),
    )
    await expect.poll(() => readdir(place.directory)).toEqual([])
    await expect.poll(() => place.ledger.batchEvents()).toEqual([])
  })

  it('hold the results back until there is room', async () => {
    place.diskBytesMax = 400
    await place.batches.stop()
    await place.start()
    const filler = await place.upload('x'.repeat(250))
    const batch = await place.create(lines(1))
    await place.until(() => place.desk.asked.length === 1)
    await turns(20)
    expect(place.batches.countsOf(batch).completed).toBe(0)
    await place.batches.deleteFile(filler)
    expect((await place.ended(batch)).counts.completed).toBe(1)
    expect(place.desk.asked).toHaveLength(1)
  })
})

it('lets a key have so many batches at once', async () => {
  place.desk.answer = hangs
  for (let i = 0; i < LIMITS.batchesOpenPerTenantMax; i++) await place.create(lines(1))
  await expect(place.create(lines(1))).rejects.toMatchObject({ code: 'BATCHES_FULL' })
})

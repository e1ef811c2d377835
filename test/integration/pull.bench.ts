/** What each test of pulling has: a hub of its own, a bench that pulls from it, and what it may expect of both. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import { SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { HubDouble, sha256Of } from './pull.hub.ts'
import { createBench, type Bench } from './pull.harness.ts'

/** Tells `take` the hub and the bench of each test of the file, before it begins. */
export function useBench(take: (hub: HubDouble, bench: Bench) => void): void {
  let hub: HubDouble | undefined
  let bench: Bench | undefined
  beforeEach(async () => {
    hub = await HubDouble.start()
    bench = await createBench(hub)
    take(hub, bench)
  })
  afterEach(async () => {
    await hub?.stop()
    await bench?.remove()
  })
}

export async function failure(work: Promise<unknown>): Promise<SkeinError> {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(thrown instanceof SkeinError)) throw new TypeError(`no SkeinError was thrown, but ${String(thrown)}`)
  return thrown
}

export async function expectFailure(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  const error = await failure(work)
  expect({ code: error.code, message: error.message }).toEqual({ code, message: expect.stringMatching(message) })
}

/** The store has exactly the model of `bytes`, whole. */
export async function expectStored({ store }: Bench, bytes: Buffer, name: string): Promise<void> {
  const models = await store.list()
  expect(models.map((model) => [model.name, model.digest])).toEqual([[name, `sha256:${sha256Of(bytes)}`]])
  expect(sha256Of(await readFile(models[0]!.path))).toBe(sha256Of(bytes))
  expect(await readdir(join(store.dir, 'parts'))).toEqual([])
}

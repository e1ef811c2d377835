/** A short run of `npm run fuzz` against the twin, and that it finds what it is there to find. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { ApiDocument } from '../fixtures/api-document.ts'
import { end, says, TWIN_MODEL } from '../fixtures/mesh-service-twin.ts'
import { requestOf } from '../fuzz/generate.ts'
import { fuzz, type FuzzInit, type FuzzResult } from '../fuzz/run.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

const KEY = 'sk-test'

let running: RunningGateway
let text: string
beforeAll(async () => {
  running = await startGateway({ apiKey: KEY })
  running.twin.modelViews = [{ ...TWIN_MODEL, aliases: ['tiny'] }]
  // work needs a node that does it, and the twin has none
  running.twin.worker = () => Promise.reject(new SkeinError('SATURATED', 'nobody works here'))
  text = await (await fetch(`${running.gateway.url}/openapi.json`)).text()
})
afterAll(() => running.gateway.stop())

const run = (extra: Partial<FuzzInit> = {}): Promise<FuzzResult> =>
  fuzz({
    ...{ url: running.gateway.url, key: KEY, model: 'tiny', document: new ApiDocument(text) },
    ...{ seed: 1, from: 0, requests: 250, parallel: 4, ...extra },
  })

describe('fuzzing', () => {
  it('finds nothing that is not announced', async () => {
    const { findings, answers, operations } = await run()
    expect(findings.slice(0, 5)).toEqual([])
    expect(operations).toBeGreaterThan(40)
    expect(answers['2xx']).toBeGreaterThan(25)
    expect(answers['4xx']).toBeGreaterThan(25)
  })

  it('makes the same requests of the same seed', () => {
    const document = new ApiDocument(text)
    const init = { document, operations: document.operations, key: KEY, model: 'tiny', knownId: () => undefined }
    const made = (seed: number): unknown[] => Array.from({ length: 100 }, (_, index) => requestOf(init, seed, index))
    expect(made(1)).toEqual(made(1))
    expect(made(1)).not.toEqual(made(2))
  })

  it('tells a status that is not announced, a shape that is not, and a member that nobody knows', async () => {
    const only = { only: 'POST /v1/completions', requests: 40 }
    running.twin.script = () => {
      throw new SkeinError('INTERNAL', 'a defect')
    }
    const [defect] = (await run(only)).findings
    expect(defect).toMatchObject({
      operation: 'POST /v1/completions',
      flaw: expect.stringMatching(/^500 is not/) as string,
    })
    // as announced, but for one member that is called otherwise
    running.twin.script = says('a')
    text = text.replaceAll('"system_fingerprint"', '"fingerprint"')
    const [shape] = (await run(only)).findings
    expect(shape?.flaw).toMatch(/^200 .*system_fingerprint/)
    text = text.replaceAll('"text_completion"', '"texts"')
    expect((await run({ ...only, from: 40 })).findings[0]?.flaw).toMatch(/^200 /)
    running.twin.script = async function* () {
      yield end()
    }
  })
})

import type { LlamaModel } from 'node-llama-cpp'
import { describe, expect, it } from 'vitest'
import { asModelDigest } from '../../../mesh/protocol/index.ts'
import { freeBesideModel, planContext } from '../../../node/engines/llama/memory.ts'

const MIB = 1024 * 1024

/** A model that needs 1 MiB of context for each 16 tokens of a sequence. */
const model = {
  trainContextSize: 8192,
  size: 100 * MIB,
  gpuLayers: 0,
  fileInsights: {
    estimateContextResourceRequirementsV2: async (asked: { contextSize: number; sequences: number }) => ({
      cpuRam: ((asked.contextSize * asked.sequences) / 16) * MIB,
      gpuVram: 0,
    }),
  },
} as unknown as LlamaModel

function plan(freeMib: number, contextTokens?: number): Promise<number> {
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  const request = { path: '/models/one.gguf', digest, slots: 2, ...(contextTokens ? { contextTokens } : {}) }
  return planContext({ model, request, slots: 2, batchTokens: 130, freeBytes: freeMib * MIB })
}

describe('planContext', () => {
  it("takes the model's own context where half of the free memory holds it", async () => {
    expect(await plan(2048)).toBe(8192)
  })

  it('halves it until it fits', async () => {
    expect(await plan(2047)).toBe(4096)
    expect(await plan(512)).toBe(2048)
  })

  it('uses all of the free memory for what was asked for', async () => {
    expect(await plan(512, 4096)).toBe(4096)
    await expect(plan(511, 4096)).rejects.toMatchObject({
      code: 'MODEL_LOAD_FAILED',
      message: expect.stringMatching(/one\.gguf.* 2 x 4096 tokens 512 MiB; 511 MiB are free/),
    })
  })

  it('refuses when not even the smallest context fits', async () => {
    await expect(plan(100)).rejects.toMatchObject({ code: 'MODEL_LOAD_FAILED' })
  })

  it('refuses more than the model was trained for', async () => {
    await expect(plan(1e6, 8193)).rejects.toThrow(/8193 tokens .* trained for 8192/)
  })
})

describe('freeBesideModel', () => {
  it('refuses a model larger than the memory, with both numbers', () => {
    expect(() => freeBesideModel('/models/huge.gguf', 2 ** 50)).toThrow(/huge\.gguf.* 1073741824 MiB.* \d+ MiB/)
    expect(freeBesideModel('/models/small.gguf', 1)).toBeGreaterThan(0)
  })
})

/** How many tokens of context fit into memory beside the model, decided before anything is allocated. */
import type { LlamaModel } from 'node-llama-cpp'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { LoadRequest } from '../engine.ts'

export interface ContextPlanInit {
  readonly model: LlamaModel
  readonly request: LoadRequest
  readonly slots: number
  readonly batchTokens: number
  /** Memory for the context, in bytes: the GPU's, or the machine's, with the model loaded. */
  readonly freeBytes: number
}

/** Of the machine's memory, kept free for the rest of it. */
const RESERVE_BYTES = 256 * 1024 * 1024
const CONTEXT_TOKENS_MIN = 512
/** Share of the free memory that a context takes unasked: the owner uses the machine too. */
const UNASKED_SHARE = 0.5

const mib = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`

/**
 * Memory that a context may take beside a model of `modelBytes` without a GPU. Pages of a mapped model count as available
 * until they are read in, hence the subtraction.
 *
 * @throws SkeinError MODEL_LOAD_FAILED with the numbers when not even the model fits.
 */
export function freeBesideModel(path: string, modelBytes: number): number {
  const availableBytes = process.availableMemory()
  const freeBytes = availableBytes - modelBytes - RESERVE_BYTES
  if (freeBytes <= 0)
    throw new SkeinError(
      'MODEL_LOAD_FAILED',
      `${path}: the model needs ${mib(modelBytes)}, and ${mib(availableBytes)} of memory are available`,
    )
  return freeBytes
}

/** What one more token of a sequence takes, in bytes, as the library estimates it: the difference between two contexts. */
export async function contextBytesPerToken(model: LlamaModel): Promise<number> {
  const bytesOf = async (contextSize: number): Promise<number> => {
    const { cpuRam, gpuVram } = await model.fileInsights.estimateContextResourceRequirementsV2({
      contextSize,
      sequences: 1,
      batchSize: CONTEXT_TOKENS_MIN,
      modelGpuLayers: model.gpuLayers,
      flashAttention: true,
    })
    return cpuRam + gpuVram
  }
  const bytes = (await bytesOf(2 * CONTEXT_TOKENS_MIN)) - (await bytesOf(CONTEXT_TOKENS_MIN))
  return Math.max(1, bytes / CONTEXT_TOKENS_MIN)
}

/** @throws SkeinError MODEL_LOAD_FAILED with the numbers when the context cannot fit. */
export async function planContext(init: ContextPlanInit): Promise<number> {
  const { model, request } = init
  const trained = model.trainContextSize || 4096
  const wanted = Math.max(1, request.contextTokens ?? trained)
  if (wanted > trained && request.contextTokens !== undefined)
    throw new SkeinError(
      'MODEL_LOAD_FAILED',
      `${request.path}: a context of ${wanted} tokens was asked for, the model was trained for ${trained}`,
    )
  const { freeBytes } = init
  const needBytes = async (contextSize: number): Promise<number> => {
    const { cpuRam, gpuVram } = await model.fileInsights.estimateContextResourceRequirementsV2({
      contextSize,
      sequences: init.slots,
      batchSize: init.batchTokens,
      modelGpuLayers: model.gpuLayers,
      flashAttention: true,
    })
    return cpuRam + gpuVram
  }
  const refuse = (contextTokens: number, bytes: number): SkeinError =>
    new SkeinError(
      'MODEL_LOAD_FAILED',
      `${request.path}: the model needs ${mib(model.size)} and a context of ${init.slots} x ${contextTokens} tokens ` +
        `${mib(bytes)}; ${mib(Math.max(0, freeBytes))} are free beside the model`,
    )
  if (request.contextTokens !== undefined) {
    const bytes = await needBytes(wanted)
    if (bytes > freeBytes) throw refuse(wanted, bytes)
    return wanted
  }
  let contextTokens = wanted
  for (;;) {
    const bytes = await needBytes(contextTokens)
    if (bytes <= freeBytes * UNASKED_SHARE) return contextTokens
    if (contextTokens <= CONTEXT_TOKENS_MIN) throw refuse(contextTokens, bytes)
    contextTokens = Math.max(CONTEXT_TOKENS_MIN, Math.floor(contextTokens / 2))
  }
}

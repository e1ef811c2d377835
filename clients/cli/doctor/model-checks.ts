/** Models of the store: whole, and within the memory of this machine. */
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import type { StoredModel } from '../../../node/models/store/index.ts'
import { formatBytes } from '../output.ts'
import { failure, ok, skipped, warning, type Finding } from './check.ts'

/** Beside its weights a model needs room for the context and for computing: about a tenth, and never less than this. */
const OVERHEAD = 0.1
const OVERHEAD_BYTES_MIN = 128 * 1024 ** 2

/** What a model needs, as far as its file tells. */
export const neededBytes = (fileBytes: number): number => fileBytes + Math.max(OVERHEAD * fileBytes, OVERHEAD_BYTES_MIN)

export interface ModelFacts {
  readonly models: readonly Pick<StoredModel, 'name' | 'path' | 'sizeBytes' | 'isPresent' | 'form' | 'parts'>[]
  /** Reads the head of a model's file. @throws SkeinError MODEL_FILE_INVALID. */
  readonly readHead: (path: string) => Promise<{ readonly sizeBytes: number }>
}

/** Memory of the machine, and of its GPUs where the engine can use them; whole, since a node may be running now. */
export interface MemoryFacts {
  readonly sizeBytes: number
  readonly gpuBytes: number
}

export async function checkModels({ models, readHead }: ModelFacts, signal: AbortSignal): Promise<Finding[]> {
  if (models.length === 0)
    return [skipped('models', 'the store is empty; fetch one with: skein pull hf:OWNER/REPOSITORY')]
  const findings: Finding[] = []
  for (const model of models) {
    signal.throwIfAborted()
    const broken = await brokenness(model, readHead)
    if (broken !== undefined)
      findings.push(
        failure(
          'models',
          `${model.name}: ${broken}`,
          `skein rm ${model.name} --yes, then pull it again (skein pull REF)`,
        ),
      )
  }
  const whole = models.length - findings.length
  return [...findings, ...(whole > 0 ? [ok('models', `${whole} of ${models.length} in the store are whole`)] : [])]
}

async function brokenness(
  { path, sizeBytes, isPresent, form, parts }: ModelFacts['models'][number],
  readHead: ModelFacts['readHead'],
): Promise<string | undefined> {
  try {
    if (form !== undefined) {
      if (!isPresent) return `not all of its files in ${path} are as they were checked`
      for (const file of parts?.files ?? []) if (/\.gguf$/i.test(file.path)) await readHead(file.path)
      return undefined
    }
    const head = await readHead(path)
    if (head.sizeBytes !== sizeBytes)
      return `its file has ${head.sizeBytes} bytes, and had ${sizeBytes} when it was checked`
    return isPresent ? undefined : `its file ${path} is not the one that was checked`
  } catch (thrown) {
    return asSkeinError(thrown).message
  }
}

/** Which models have room, each alone. */
export function checkFit(models: ModelFacts['models'], memory: MemoryFacts): Finding {
  const check = 'model memory'
  const present = models.filter((model) => model.isPresent)
  if (present.length === 0) return skipped(check, 'the store is empty')
  const room = Math.max(memory.sizeBytes, memory.gpuBytes)
  const large = present.filter((model) => neededBytes(model.sizeBytes) > room)
  const where = memory.gpuBytes > 0 ? ` and ${formatBytes(memory.gpuBytes)} on GPUs` : ''
  const total = `${formatBytes(memory.sizeBytes)} of memory${where}`
  if (large.length === 0) return ok(check, `each of ${present.length} models has room in ${total}`)
  const named = large.map((model) => `${model.name} (needs about ${formatBytes(neededBytes(model.sizeBytes))})`)
  return warning(check, `too large for ${total}: ${named.join(', ')}`, 'pull a smaller quantization, such as :Q4_K_M')
}

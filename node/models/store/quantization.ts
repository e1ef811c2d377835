/** Which file of a repository to take: most hold one model in a dozen quantizations. */
import { basename } from 'node:path'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { printable, type HubReference } from './reference.ts'

export interface HubFile {
  /** In the repository. */
  readonly path: string
  readonly sizeBytes: number
  /** 64 hexadecimal digits; absent for files that the hub keeps in git itself. */
  readonly sha256?: string
  /** SHA-1 that git has of such a file, 40 hexadecimal digits. */
  readonly gitSha1?: string
}

/**
 * Best first, for a machine of which nothing is known: four bits with mixed precision lose little and fit most machines;
 * eight bits lose nearly nothing; what is larger or loses more comes after.
 */
const PREFERENCE = [
  'Q4_K_M', 'Q8_0', 'Q5_K_M', 'Q4_K_S', 'Q6_K', 'Q5_K_S', 'Q4_0', 'IQ4_XS', 'IQ4_NL', 'Q4_1', 'Q5_0', 'Q5_1', 'MXFP4',
  'Q4_K_XL', 'Q5_K_XL', 'Q6_K_XL', 'Q8_K_XL', 'Q3_K_L', 'Q3_K_M', 'Q3_K_XL', 'IQ3_M', 'Q3_K_S', 'BF16', 'F16', 'F32',
] as const // prettier-ignore
const TAG = /(?:^|[-_.])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]+)*|TQ\d_\d|MXFP4|BF16|FP?16|FP?32))(?=[-_.]|$)/gi
/** One file of a model in several: `NAME-00002-of-00003.gguf`. */
const SPLIT = /-\d{5}-of-\d{5}\.gguf$/i
/** Beside models: projectors of images, matrices of a quantizer. */
const OTHER = /(?:^|[-_.])(?:mmproj|imatrix)/i
const LISTED_MAX = 12

export const isSplitFile = (path: string): boolean => SPLIT.test(path)

/** What the name of a file says about its quantization, in capitals; `undefined` when it says nothing. */
export function quantizationOf(path: string): string | undefined {
  const tags = [...basename(path).matchAll(TAG)]
  return tags.at(-1)?.[1]?.toUpperCase().replace(/^FP/, 'F')
}

const rankOf = (path: string): number => {
  const tag = quantizationOf(path)?.replace(/^UD-/, '')
  const rank = PREFERENCE.findIndex((each) => each === tag)
  return rank < 0 ? PREFERENCE.length : rank
}

/** @throws SkeinError MODEL_REFERENCE_INVALID listing what there is; MODEL_FILE_INVALID for a model in several files. */
export function chooseFile(files: readonly HubFile[], reference: HubReference): HubFile {
  const models = files.filter(({ path }) => /\.gguf$/i.test(path) && !OTHER.test(basename(path)))
  const { file, quantization, text } = reference
  if (models.length === 0)
    throw new SkeinError(
      'MODEL_REFERENCE_INVALID',
      `${text}: the repository has no .gguf file and no .onnx file; look for one named GGUF`,
    )
  if (file !== undefined) return only(models, (each) => each.path === file, text, `no file ${file}`)
  const wanted = quantization?.toUpperCase()
  if (wanted !== undefined)
    return only(models, (each) => quantizationOf(each.path) === wanted, text, `no one file in ${wanted}`)
  const best = Math.min(...models.map(({ path }) => rankOf(path)))
  return only(models, ({ path }) => rankOf(path) === best, text, 'no file that is the obvious one to take')
}

function only(models: readonly HubFile[], fits: (file: HubFile) => boolean, text: string, none: string): HubFile {
  const found = models.filter(fits)
  const [first] = found
  if (first !== undefined && isSplitFile(first.path)) throw splitModel(text, first.path, models)
  if (first === undefined || found.length > 1)
    throw new SkeinError(
      'MODEL_REFERENCE_INVALID',
      `${text}: ${none}; it has ${listed(found.length > 1 ? found : models)}`,
    )
  return first
}

/** The error for a model in several files, with what can be taken instead. */
export function splitModel(text: string, path: string, models: readonly HubFile[] = []): SkeinError {
  const whole = models.filter((each) => !isSplitFile(each.path))
  const instead = whole.length > 0 ? `; in one file: ${listed(whole)}` : '; merge its files with llama-gguf-split'
  return new SkeinError(
    'MODEL_FILE_INVALID',
    `${text}: ${printable(path)} is one part of a split model, which cannot be pulled yet${instead}`,
  )
}

function listed(files: readonly HubFile[]): string {
  const names = files.map(({ path }) => printable(path))
  const more = names.length > LISTED_MAX ? ` and ${names.length - LISTED_MAX} more` : ''
  return `${names.slice(0, LISTED_MAX).join(', ')}${more}`
}

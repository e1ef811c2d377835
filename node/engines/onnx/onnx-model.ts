/**
 * An ONNX model as it lies on the disk: the file, what stands beside it, and what can be done with both. Tensors can be put
 * through nearly every model. Texts can when there is a tokenizer, the inputs are those of a text model, and file or
 * companions say what its output means. Read alike by the agent, which announces, and by the engine, which does it.
 */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Type, type Static, type TSchema } from 'typebox'
import { asSkeinError, checker, LIMITS, parser, SkeinError, type ModelFeature } from '../../../mesh/protocol/index.ts'
import { ONNX_BYTES_MAX, readOnnx, shown, type OnnxSummary, type OnnxValue } from './onnx-head.ts'

/** How texts go through a model. */
export interface TextRole {
  readonly tokenizerPath: string
  readonly tokenizerConfigPath: string | undefined
  /** Tokens of one text, special ones included. */
  readonly tokensMax: number
  readonly padId: number
  readonly embed?: { readonly output: string; readonly pooling: Pooling }
  readonly classify?: { readonly output: string; readonly labels: readonly string[]; readonly scores: Scores }
}

/** `given`: the output is a vector for each text; else it has one for each token, and one is made of these. */
export type Pooling = 'given' | 'mean' | 'cls' | 'last'
/** How numbers for the classes become probabilities; `given`: they are. */
export type Scores = 'softmax' | 'sigmoid' | 'given'

export interface OnnxModel {
  readonly path: string
  readonly summary: OnnxSummary
  readonly features: readonly ModelFeature[]
  readonly text: TextRole | undefined
  /** Files beside the model that what it says of texts depends on, with what each is called in the digest. */
  readonly companions: readonly { readonly role: string; readonly path: string }[]
}

const TOKENIZER_BYTES_MAX = 64 * 1024 * 1024
const CONFIG_BYTES_MAX = 4 * 1024 * 1024

/** Files of a model by what they are to it, in the order of its digest: where exporters put them, and how large they may be. */
export const ONNX_FILES = {
  model: { name: 'model.onnx', bytesMax: ONNX_BYTES_MAX },
  tokenizer: { name: 'tokenizer.json', bytesMax: TOKENIZER_BYTES_MAX },
  config: { name: 'config.json', bytesMax: CONFIG_BYTES_MAX },
  'tokenizer config': { name: 'tokenizer_config.json', bytesMax: CONFIG_BYTES_MAX },
  pooling: { name: '1_Pooling/config.json', bytesMax: CONFIG_BYTES_MAX },
} as const

const LABEL_LENGTH_MAX = 128
const NAME_LENGTH_MAX = 128
/** Where nothing says how long a text may be: what BERT has. */
const TOKENS_MAX_DEFAULT = 512
/** As a capability record has it. */
const TOKENS_MAX = 100_000_000

const TokenCount = Type.Integer({ minimum: 1, maximum: TOKENS_MAX })
const ConfigSchema = Type.Object({
  max_position_embeddings: Type.Optional(TokenCount),
  pad_token_id: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }), Type.Null()])),
  id2label: Type.Optional(Type.Record(Type.String(), Type.String())),
  problem_type: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  model_type: Type.Optional(Type.String()),
})
/** Makers write 10^30 for "no limit". */
const TokenizerConfigSchema = Type.Object({ model_max_length: Type.Optional(Type.Number({ minimum: 1 })) })
const PoolingSchema = Type.Object({
  pooling_mode_cls_token: Type.Optional(Type.Boolean()),
  pooling_mode_mean_tokens: Type.Optional(Type.Boolean()),
  pooling_mode_lasttoken: Type.Optional(Type.Boolean()),
})

/** Models whose positions begin behind that of the padding token: two fewer than they have are there for tokens. */
const SHIFTED_POSITIONS: readonly string[] = ['roberta', 'xlm-roberta', 'camembert', 'mpnet', 'longformer']

const TEXT_INPUTS: readonly string[] = ['input_ids', 'attention_mask', 'token_type_ids']

/** @throws SkeinError MODEL_FILE_INVALID, naming the file and what is wrong with it. */
export async function describeOnnx(path: string): Promise<OnnxModel> {
  const summary = await readOnnx(path)
  const canInfer = isExpressible(summary.inputs) && isExpressible(summary.outputs)
  const found = takesTexts(summary.inputs) ? await readCompanions(path) : undefined
  const text = found === undefined ? undefined : roleOf(path, summary, found)
  const features: ModelFeature[] = [
    ...(text?.embed === undefined ? [] : (['embed'] as const)),
    ...(text?.classify === undefined ? [] : (['classify'] as const)),
    ...(canInfer ? (['infer'] as const) : []),
  ]
  if (features.length === 0) throw new SkeinError('MODEL_FILE_INVALID', `${path}: ${whyNothing(summary)}`)
  return { path, summary, features, text, companions: text === undefined ? [] : found!.files }
}

/** Whether a request can have all of these tensors. */
const isExpressible = (values: readonly OnnxValue[]): boolean =>
  values.length <= LIMITS.workTensorsMax &&
  values.every(({ name, type }) => type !== 'unsupported' && name.length > 0 && name.length <= NAME_LENGTH_MAX)

const takesTexts = (inputs: readonly OnnxValue[]): boolean =>
  inputs.some(({ name }) => name === 'input_ids') &&
  inputs.every(({ name, type }) => TEXT_INPUTS.includes(name) && (type === 'int64' || type === 'int32'))

function whyNothing({ inputs, outputs }: OnnxSummary): string {
  const odd = [...inputs, ...outputs].find(({ type }) => type === 'unsupported')
  if (odd !== undefined) return `its ${shown(odd.name)} is of a type that no request can have`
  return `it has ${inputs.length} inputs and ${outputs.length} outputs, more than the ${LIMITS.workTensorsMax} of a request`
}

interface Companions {
  readonly tokenizer: string
  readonly config: Static<typeof ConfigSchema>
  readonly tokenizerConfig: Static<typeof TokenizerConfigSchema>
  readonly tokenizerConfigPath: string | undefined
  readonly pooling: Static<typeof PoolingSchema>
  readonly files: OnnxModel['companions']
}

/** Of the folder of the model, or the one above where exporters keep graphs in one called `onnx`. */
async function readCompanions(path: string): Promise<Companions | undefined> {
  const folder = dirname(path)
  for (const place of basename(folder) === 'onnx' ? [folder, dirname(folder)] : [folder]) {
    const tokenizer = join(place, ONNX_FILES.tokenizer.name)
    if (!(await hasFile(tokenizer, TOKENIZER_BYTES_MAX))) continue
    const [config, tokenizerConfig, pooling] = await Promise.all([
      readJson(join(place, ONNX_FILES.config.name), ConfigSchema),
      readJson(join(place, ONNX_FILES['tokenizer config'].name), TokenizerConfigSchema),
      readJson(join(place, ONNX_FILES.pooling.name), PoolingSchema),
    ])
    const files = [
      { role: 'tokenizer', path: tokenizer },
      ...(config === undefined ? [] : [{ role: 'config', path: config.path }]),
      ...(tokenizerConfig === undefined ? [] : [{ role: 'tokenizer config', path: tokenizerConfig.path }]),
      ...(pooling === undefined ? [] : [{ role: 'pooling', path: pooling.path }]),
    ]
    return {
      tokenizer,
      config: config?.value ?? {},
      tokenizerConfig: tokenizerConfig?.value ?? {},
      tokenizerConfigPath: tokenizerConfig?.path,
      pooling: pooling?.value ?? {},
      files,
    }
  }
  return undefined
}

async function hasFile(path: string, bytesMax: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile() !== true) return false
  if (found.size <= bytesMax) return true
  throw new SkeinError('MODEL_FILE_INVALID', `${path}: it has ${found.size} bytes, more than ${bytesMax}`)
}

/** Undefined when it is not there. @throws SkeinError MODEL_FILE_INVALID when it is not what it should be. */
async function readJson<T extends TSchema>(
  path: string,
  schema: T,
): Promise<{ path: string; value: Static<T> } | undefined> {
  if (!(await hasFile(path, CONFIG_BYTES_MAX))) return undefined
  const parse = parser(schema, path, 'MODEL_FILE_INVALID')
  let value: unknown
  try {
    value = JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw new SkeinError('MODEL_FILE_INVALID', `${path}: ${asSkeinError(cause).message}`, { cause })
  }
  return { path, value: parse(value) }
}

/** Undefined when nothing says what the model makes of texts. */
function roleOf(path: string, summary: OnnxSummary, companions: Companions): TextRole | undefined {
  const { metadata } = summary
  const { config } = companions
  const classify = classesOf(path, summary, config)
  const embed = classify === undefined ? vectorsOf(summary, companions) : undefined
  if (classify === undefined && embed === undefined) return undefined
  return {
    tokenizerPath: companions.tokenizer,
    tokenizerConfigPath: companions.tokenizerConfigPath,
    tokensMax: tokensMaxOf(path, metadata, companions),
    padId: wholeNumber(path, metadata, 'pad_token_id') ?? config.pad_token_id ?? 0,
    ...(embed && { embed }),
    ...(classify && { classify }),
  }
}

function tokensMaxOf(path: string, metadata: OnnxSummary['metadata'], companions: Companions): number {
  const { config, tokenizerConfig } = companions
  const said = wholeNumber(path, metadata, 'max_tokens')
  if (said !== undefined && said > 0) return said
  const positions = config.max_position_embeddings
  const isShifted = SHIFTED_POSITIONS.includes(config.model_type ?? '')
  const bounds = [
    ...(positions === undefined ? [] : [Math.max(1, positions - (isShifted ? 2 : 0))]),
    ...[tokenizerConfig.model_max_length ?? Infinity].filter((length) => length <= TOKENS_MAX).map(Math.floor),
  ]
  return bounds.length === 0 ? TOKENS_MAX_DEFAULT : Math.min(...bounds)
}

/** @throws SkeinError MODEL_FILE_INVALID when the property is there and no whole number. */
function wholeNumber(path: string, metadata: OnnxSummary['metadata'], key: string): number | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw new SkeinError('MODEL_FILE_INVALID', `${path}: its property ${key} is ${shown(value)}, not a whole number`)
}

const rankOf = ({ shape }: OnnxValue): number | undefined => shape?.length

function classesOf(
  path: string,
  { outputs, metadata }: OnnxSummary,
  config: Companions['config'],
): TextRole['classify'] {
  const output = outputs.find(({ name }) => name === 'logits' || name === 'probabilities')
  if (output === undefined || output.type !== 'float32' || rankOf(output) !== 2) return undefined
  const labels = metadata.has('classes') ? listed(path, metadata.get('classes')!) : numbered(path, config.id2label)
  if (labels === undefined) return undefined
  const [, width] = output.shape!
  if (typeof width === 'number' && width !== labels.length)
    throw new SkeinError('MODEL_FILE_INVALID', `${path}: it tells ${width} numbers for ${labels.length} classes`)
  const isMulti = config.problem_type === 'multi_label_classification'
  const scores = output.name === 'probabilities' ? 'given' : isMulti ? 'sigmoid' : 'softmax'
  return { output: output.name, labels: labels.map((label) => label.slice(0, LABEL_LENGTH_MAX)), scores }
}

const isTexts = checker(Type.Array(Type.String(), { minItems: 1, maxItems: 65_536 }))

function listed(path: string, json: string): string[] {
  try {
    const labels: unknown = JSON.parse(json)
    if (isTexts(labels)) return labels
  } catch {
    // told below
  }
  throw new SkeinError('MODEL_FILE_INVALID', `${path}: its property classes is no JSON list of texts`)
}

/** Keys are `0`, `1`, … without a gap. */
function numbered(path: string, labels: Readonly<Record<string, string>> | undefined): string[] | undefined {
  if (labels === undefined) return undefined
  const texts = Object.keys(labels).map((_, i) => labels[String(i)])
  if (texts.length > 0 && texts.every((text) => text !== undefined)) return texts
  throw new SkeinError('MODEL_FILE_INVALID', `${path}: id2label in its config.json does not number the classes from 0`)
}

/** A vector for each text where the graph gives one, else the tokens' vectors, and how one is made of them. */
function vectorsOf({ outputs, metadata }: OnnxSummary, { pooling }: Companions): TextRole['embed'] {
  const floats = outputs.filter(({ type }) => type === 'float32')
  const whole = floats.find((output) => output.name === 'sentence_embedding' && rankOf(output) === 2)
  if (whole !== undefined) return { output: whole.name, pooling: 'given' }
  const names = ['last_hidden_state', 'token_embeddings']
  const tokens = floats.find((output) => names.includes(output.name) && rankOf(output) === 3)
  if (tokens === undefined) return undefined
  const said = metadata.get('pooling')
  if (said === 'mean' || said === 'cls' || said === 'last') return { output: tokens.name, pooling: said }
  if (pooling.pooling_mode_cls_token === true) return { output: tokens.name, pooling: 'cls' }
  if (pooling.pooling_mode_lasttoken === true) return { output: tokens.name, pooling: 'last' }
  return { output: tokens.name, pooling: 'mean' }
}

/** Bodies of the calls that are answered in one step, as work. */
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError, type Work } from '../../mesh/protocol/index.ts'
import { unsupported } from './openai-requests.ts'
import { text } from './openai-schemas.ts'
import { SkeinBodySchema } from './request-options.ts'
import { TensorBodySchema, tensorOf } from './tensors.ts'

/** Of a tensor, as on the wire. */
const NAME_LENGTH_MAX = 128

const common = { model: text(256, 1), skein: Type.Optional(SkeinBodySchema) }
/** One text, or several. Token arrays pass here, to be refused by what they are. */
const input = () =>
  Type.Union([
    text(LIMITS.workTextLengthMax),
    Type.Array(Type.Unknown(), { minItems: 1, maxItems: LIMITS.workInputsMax }),
  ])

export const EmbeddingsBodySchema = Type.Object({
  ...common,
  input: input(),
  encoding_format: Type.Optional(Type.String()),
  dimensions: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.embeddingDimensionsMax })),
  user: Type.Optional(Type.String()),
})
export type EmbeddingsBody = Static<typeof EmbeddingsBodySchema>

export const ClassifyBodySchema = Type.Object({
  ...common,
  input: input(),
  top: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.workClassesMax })),
})
export type ClassifyBody = Static<typeof ClassifyBodySchema>

export const InferBodySchema = Type.Object({
  ...common,
  inputs: Type.Record(Type.String(), TensorBodySchema, { minProperties: 1, maxProperties: LIMITS.workTensorsMax }),
})
export type InferBody = Static<typeof InferBodySchema>

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function embedWork({ input, encoding_format: format = 'float', dimensions }: EmbeddingsBody): Work {
  if (format !== 'float' && format !== 'base64') throw unsupported('encoding_format')
  return { kind: 'embed', texts: textsOf(input), ...(dimensions !== undefined && { dimensions }) }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export const classifyWork = ({ input }: ClassifyBody): Work => ({ kind: 'classify', texts: textsOf(input) })

/** @throws SkeinError INVALID_REQUEST with its `param`. */
export function inferWork({ inputs }: InferBody): Work {
  const tensors = Object.entries(inputs).map(([name, body]) => {
    if (name.length < 1 || name.length > NAME_LENGTH_MAX)
      throw new SkeinError('INVALID_REQUEST', `the name of an input has 1 to ${NAME_LENGTH_MAX} characters`, {
        param: 'inputs',
      })
    return tensorOf(name.toWellFormed(), body)
  })
  const bytes = tensors.reduce((sum, { data }) => sum + data.length, 0)
  if (bytes > LIMITS.workBytesMax)
    throw new SkeinError('INVALID_REQUEST', `inputs take ${bytes} bytes, more than ${LIMITS.workBytesMax}`, {
      param: 'inputs',
    })
  return { kind: 'infer', tensors }
}

function textsOf(input: string | readonly unknown[]): string[] {
  if (typeof input === 'string') return [input.toWellFormed()]
  return input.map((each, index) => {
    const param = `input[${index}]`
    if (typeof each === 'number' || Array.isArray(each))
      throw new SkeinError(
        'UNSUPPORTED_PARAMETER',
        'input as token ids is not supported: they mean nothing without the tokenizer that made them; send the texts',
        { param: 'input' },
      )
    if (typeof each !== 'string') throw new SkeinError('INVALID_REQUEST', `${param} must be string`, { param })
    if (each.length > LIMITS.workTextLengthMax)
      throw new SkeinError('INVALID_REQUEST', `${param} is longer than ${LIMITS.workTextLengthMax} characters`, {
        param,
      })
    // half a surrogate pair is legal in JSON and is not in UTF-8
    return each.toWellFormed()
  })
}

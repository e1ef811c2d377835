/** Which sensors are watched, and by which model: a file of its owner's in TOML, with one `[[stream]]` for each rule. */
import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { CAPABILITY_NAME, DEVICE_ID, SkeinError } from '../../mesh/protocol/index.ts'

const RuleSchema = Type.Object(
  {
    /** All devices when absent. */
    device: Type.Optional(Type.String({ pattern: DEVICE_ID })),
    capability: Type.String({ pattern: CAPABILITY_NAME }),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    /** Newest readings that the model is shown. */
    window: Type.Optional(Type.Integer({ minimum: 8, maximum: 1024 })),
    /** Of these, those of the last `seconds` s alone. */
    seconds: Type.Optional(Type.Number({ minimum: 1, maximum: 86_400 })),
    /** s between two looks at least. */
    every: Type.Optional(Type.Number({ minimum: 1, maximum: 86_400 })),
    /** Score from which on the device is told. */
    threshold: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
    /** `crossing`: when the threshold is crossed, or the label changes beyond it; `always`: after each look. */
    tell: Type.Optional(Type.Enum(['crossing', 'always'])),
  },
  { additionalProperties: false },
)
const FileSchema = Type.Object({ stream: Type.Array(RuleSchema, { maxItems: 256 }) }, { additionalProperties: false })
const compiled = Compile(FileSchema)

export type StreamRule = Required<Omit<Static<typeof RuleSchema>, 'device' | 'seconds'>> &
  Pick<Static<typeof RuleSchema>, 'device' | 'seconds'>

/** What comes with Skein, and is asked unless a rule names another. */
const DEFAULTS = { model: 'skein-sensor', window: 64, every: 60, threshold: 0.5, tell: 'crossing' } as const
const FILE_BYTES_MAX = 256 * 1024

/** @throws SkeinError CONFIG_INVALID naming the line, or the rule and its field. */
export function parseStreamRules(text: string, where: string): StreamRule[] {
  const invalid = (why: string, cause?: unknown): SkeinError =>
    new SkeinError('CONFIG_INVALID', `${where}: ${why}`, { cause })
  let value: unknown
  try {
    value = parse(text)
  } catch (cause) {
    if (cause instanceof TomlError) throw invalid(`line ${cause.line}: ${cause.message.split('\n')[0]}`, cause)
    throw invalid(String(cause), cause)
  }
  if (!compiled.Check(value)) {
    const first = compiled.Errors(value)[0]
    throw invalid(`${first?.instancePath || '/'} ${first?.message ?? 'is no list of streams'}`)
  }
  return value.stream.map((rule) => ({ ...DEFAULTS, ...rule }))
}

/** @throws SkeinError CONFIG_INVALID. */
export function readStreamRules(path: string): StreamRule[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new SkeinError('CONFIG_INVALID', `the file of sensor streams cannot be read: ${(cause as Error).message}`, {
      cause,
    })
  }
  if (Buffer.byteLength(text) > FILE_BYTES_MAX)
    throw new SkeinError('CONFIG_INVALID', `${path} is larger than ${FILE_BYTES_MAX} bytes`)
  return parseStreamRules(text, path)
}

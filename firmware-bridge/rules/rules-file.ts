/** The file of rules: TOML, with one `[[rule]]` for each. All of it is checked before any of it is used. */
import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import {
  CAPABILITY_NAME,
  DEVICE_ID,
  DeviceValueSchema,
  LIMITS,
  RULE_NAME,
  SkeinError,
} from '../../mesh/protocol/index.ts'

const capability = () => Type.String({ pattern: CAPABILITY_NAME })
const device = () => Type.String({ pattern: DEVICE_ID })
const word = () => Type.String({ minLength: 1, maxLength: 32 })
const closed = { additionalProperties: false }

const WhenSchema = Type.Object(
  {
    /** Whose readings are looked at; not of `every`. */
    capability: Type.Optional(capability()),
    /** A number that grows beyond, or falls below. */
    above: Type.Optional(Type.Number()),
    below: Type.Optional(Type.Number()),
    /** Where the number has to come back to before it can cross again; the bound itself when absent. */
    back: Type.Optional(Type.Number()),
    /** Values (labels, options, on or off) of which one comes after another one. */
    becomes: Type.Optional(Type.Array(Type.Union([word(), Type.Boolean()]), { minItems: 1, maxItems: 16 })),
    /** s. */
    every: Type.Optional(Type.Number({ minimum: 10, maximum: 604_800 })),
  },
  closed,
)
const AskSchema = Type.Object(
  {
    question: Type.String({ minLength: 1, maxLength: 1024 }),
    /** The answers that there are; yes and no when absent. */
    of: Type.Optional(Type.Array(word(), { minItems: 2, maxItems: 8, uniqueItems: true })),
    model: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    /** What the model is shown of the device; all of its readings when absent. */
    readings: Type.Optional(Type.Array(capability(), { minItems: 1, maxItems: 16 })),
  },
  closed,
)
const ActSchema = Type.Object(
  {
    /** The one whose reading it was, when absent. */
    device: Type.Optional(device()),
    capability: capability(),
    /** Absent of a command that takes none. */
    value: Type.Optional(DeviceValueSchema),
    /** The answer that it is done for; `yes` when absent. */
    on: Type.Optional(word()),
  },
  closed,
)
const RuleSchema = Type.Object(
  {
    name: Type.String({ pattern: RULE_NAME }),
    /** All devices when absent. */
    device: Type.Optional(device()),
    when: WhenSchema,
    ask: Type.Optional(AskSchema),
    act: Type.Array(ActSchema, { minItems: 1, maxItems: 4 }),
    /** s from one time to the next, for each device. */
    cooldown: Type.Optional(Type.Number({ minimum: 1, maximum: 604_800 })),
    per_hour: Type.Optional(Type.Integer({ minimum: 1, maximum: 60 })),
  },
  closed,
)
const FileSchema = Type.Object({ rule: Type.Array(RuleSchema, { maxItems: LIMITS.rulesMax }) }, closed)
const compiled = Compile(FileSchema)

export type RuleAct = Static<typeof ActSchema>
export type Rule = Omit<Static<typeof RuleSchema>, 'cooldown' | 'per_hour'> & {
  readonly cooldown: number
  readonly per_hour: number
}

const DEFAULTS = { cooldown: 300, per_hour: 6 } as const
const EXAMPLE = 'such as when = { capability = "temperature", above = 30, back = 28 }'

/** @throws SkeinError CONFIG_INVALID naming the line, what is wrong there, and what would be right. */
export function parseRules(text: string, where: string): Rule[] {
  const invalid = (line: number, why: string, cause?: unknown): SkeinError =>
    new SkeinError('CONFIG_INVALID', `${where}, line ${line}: ${why}`, { cause })
  let value: unknown
  try {
    value = parse(text)
  } catch (cause) {
    if (cause instanceof TomlError) throw invalid(cause.line, cause.message.split('\n')[0]!, cause)
    throw invalid(1, String(cause), cause)
  }
  if (!compiled.Check(value)) {
    const first = compiled.Errors(value)[0]
    const path = first?.instancePath ?? ''
    const what = path === '' ? 'the file' : path.slice(1).replaceAll('/', '.')
    // what TypeBox says of a member that a schema does not have
    const why = first?.message === 'schema is false' ? 'is not known here' : (first?.message ?? 'is wrong')
    throw invalid(lineOf(text, path), `${what} ${why}; see "Rules" in docs/DEVICES.md`)
  }
  const names = new Set<string>()
  return value.rule.map((rule, index) => {
    const flaw = names.has(rule.name)
      ? { at: 'name', why: `there are two rules '${rule.name}': rename one` }
      : flawOf(rule)
    if (flaw !== undefined) throw invalid(lineOf(text, `/rule/${index}/${flaw.at}`), `rule '${rule.name}': ${flaw.why}`)
    names.add(rule.name)
    // what acts at times is held back by these alone
    const cooldown = Math.min(DEFAULTS.cooldown, rule.when.every ?? Infinity)
    return { ...DEFAULTS, cooldown, ...rule }
  })
}

interface Flaw {
  /** Member of the rule. */
  readonly at: string
  readonly why: string
}

function flawOf({ when, device: of, ask, act }: Static<typeof RuleSchema>): Flaw | undefined {
  const { above, below, back, becomes, every } = when
  const kinds = [above, below, becomes, every].filter((each) => each !== undefined).length
  if (kinds !== 1) return { at: 'when', why: `when needs one of above, below, becomes and every, ${EXAMPLE}` }
  if (every !== undefined && of === undefined)
    return { at: 'when', why: 'every is of one device: add device = "ITS ID"' }
  if (every === undefined && when.capability === undefined)
    return { at: 'when', why: `when needs a capability, ${EXAMPLE}` }
  if (every !== undefined && when.capability !== undefined)
    return { at: 'when', why: 'every looks at no capability: leave it out, and name it in ask.readings' }
  if (back !== undefined && !((above !== undefined && back <= above) || (below !== undefined && back >= below)))
    return { at: 'when', why: 'back is a bound on the other side: not over above, not under below' }
  const answers = ask?.of ?? ['yes', 'no']
  for (const { on } of act) {
    if (on === undefined && ask?.of !== undefined)
      return { at: 'act', why: `each act needs on, the answer that it is for: one of ${answers.join(', ')}` }
    if (on === undefined) continue
    if (ask === undefined) return { at: 'act', why: 'on is for rules that ask: add ask, or leave on out' }
    if (!answers.includes(on)) return { at: 'act', why: `on = "${on}" is no answer: one of ${answers.join(', ')}` }
  }
  return undefined
}

/** Of the member that `path` names, or of its rule; from 1. */
function lineOf(text: string, path: string): number {
  const lines = text.split('\n')
  const [, list, index, ...keys] = path.split('/')
  if (list !== 'rule' || index === undefined) return 1
  const heads = lines.flatMap((line, at) => (/^\s*\[\[\s*rule\s*\]\]/.test(line) ? [at] : []))
  const head = heads[Number(index)] ?? 0
  const end = heads[Number(index) + 1] ?? lines.length
  for (const key of keys.filter((each) => !/^\d+$/.test(each)).reverse()) {
    const found = lines.slice(head, end).findIndex((line) => new RegExp(`(^|[\\s{,[.])${key}\\s*[=\\]]`).test(line))
    if (found >= 0) return head + found + 1
  }
  return head + 1
}

/** @throws SkeinError CONFIG_INVALID. */
export function readRules(path: string): Rule[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const why = (cause as Error).message
    throw new SkeinError('CONFIG_INVALID', `the file of rules cannot be read: ${why}`, { cause })
  }
  if (Buffer.byteLength(text) > LIMITS.rulesFileBytesMax)
    throw new SkeinError('CONFIG_INVALID', `${path} is larger than ${LIMITS.rulesFileBytesMax} bytes`)
  return parseRules(text, path)
}

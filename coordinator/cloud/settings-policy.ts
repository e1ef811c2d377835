/** The section `policy` of the cloud settings: what may leave, for which reasons, and what is taken out of it before. */
import { Type, type Static } from 'typebox'
import { CLOUD_REASONS, LIMITS, type CloudReason } from '../../mesh/protocol/index.ts'

const names = () =>
  Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: LIMITS.policyListMax, uniqueItems: true })

/** In nats; the logarithm of a probability is at most 0. */
const logprob = () => Type.Number({ minimum: -100, maximum: 0 })

const CascadeSchema = Type.Object(
  {
    /** As those of the policy; the first entry that names a model holds for it. */
    models: names(),
    /** Of the mean over the tokens. */
    meanLogprob: logprob(),
    /** Of each of them. */
    tokenLogprob: Type.Optional(logprob()),
    /** So many tokens are held back and judged; the whole answer when absent. */
    tokens: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.generatedTokensMax })),
  },
  { additionalProperties: false },
)

export const PolicySchema = Type.Object(
  {
    /** Those that the owner takes; with none nothing leaves. */
    reasons: Type.Optional(Type.Array(Type.Enum([...CLOUD_REASONS]), { uniqueItems: true })),
    /** Names, aliases or digests of models whose requests may leave; `llama*` for all that begin so. */
    models: Type.Optional(names()),
    /** Whose requests may leave, likewise. */
    tenants: Type.Optional(names()),
    /** Answers of the owner's nodes that are judged, and asked for in the cloud when the model was not sure enough. */
    cascade: Type.Optional(Type.Array(CascadeSchema, { maxItems: LIMITS.policyListMax })),
    /** Every match is replaced before a prompt leaves. */
    redact: Type.Optional(
      Type.Array(
        Type.Object(
          {
            pattern: Type.String({ minLength: 1, maxLength: LIMITS.redactPatternLengthMax }),
            with: Type.Optional(Type.String({ maxLength: LIMITS.redactPatternLengthMax })),
          },
          { additionalProperties: false },
        ),
        { maxItems: LIMITS.redactPatternsMax },
      ),
    ),
  },
  { additionalProperties: false },
)

/** One pattern of the owner's, and what stands in the place of each match. */
export interface RedactRule {
  readonly pattern: string
  readonly with: string
}

/** As `CascadeSchema`. */
export type CascadeSettings = Static<typeof CascadeSchema>

export interface PolicySettings {
  readonly reasons: readonly CloudReason[]
  readonly models: readonly string[]
  readonly tenants: readonly string[]
  readonly redact: readonly RedactRule[]
  readonly cascade: readonly CascadeSettings[]
}

/** Without a word of the owner's: nodes in the cloud are there because the owner put them there. */
const USUAL_REASONS: readonly CloudReason[] = ['too-big', 'deadline', 'name', 'lost']
const ALL = ['*']
const REDACTED = '[redacted]'

export function policyOf(read: Static<typeof PolicySchema> = {}): PolicySettings {
  const { cascade = [], models = ALL, tenants = ALL, redact = [] } = read
  const { reasons = cascade.length === 0 ? USUAL_REASONS : CLOUD_REASONS } = read
  return { reasons, models, tenants, redact: redact.map((rule) => ({ with: REDACTED, ...rule })), cascade }
}

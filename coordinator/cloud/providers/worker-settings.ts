/** What the flavours of rented machines have in common: what runs there, what it costs, and when it is ready. */
import { Type, type Static } from 'typebox'

const ARGUMENTS_MAX = 64
const HOUR_PRICE_MAX = 10_000
const READY_MINUTES_MAX = 180
const STEP_SECONDS_MAX = 3600

/** By digest, never by tag: what was tried is what runs. */
const ImageSchema = Type.String({ maxLength: 512, pattern: '^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$' })

/** In the owner's currency; the budget counts in its millionths. */
export const HourPriceSchema = Type.Number({ minimum: 0, maximum: HOUR_PRICE_MAX })

/** From the launch until the worker is ready, as the owner has seen it: boot, image, model. */
export const ReadyMinutesSchema = Type.Number({ exclusiveMinimum: 0, maximum: READY_MINUTES_MAX })

/** Begun ones are billed whole. */
export const StepSecondsSchema = Type.Integer({ minimum: 1, maximum: STEP_SECONDS_MAX })

export const EnvironmentNameSchema = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' })

/** HTTPS, or plain on this machine. */
export const EndpointUrlSchema = Type.String({
  maxLength: 512,
  pattern: '^(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://(127\\.0\\.0\\.1|localhost)(:[0-9]{1,5})?)/?$',
})

export const WorkerSchema = Type.Object(
  {
    /** The image of vLLM's OpenAI-compatible server. */
    vllm: ImageSchema,
    /** The image of Skein, whose entry point is the program `skein`. */
    skein: ImageSchema,
    /** As vLLM is told of it. */
    model: Type.String({ minLength: 1, maxLength: 256, pattern: '^[A-Za-z0-9/][A-Za-z0-9._/:-]*$' }),
    /** More arguments of vLLM, such as `--max-model-len`, `8192`. */
    arguments: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 1024, pattern: '^[\\x20-\\x7e]+$' }), {
        maxItems: ARGUMENTS_MAX,
      }),
    ),
  },
  { additionalProperties: false },
)
export type WorkerSettings = Static<typeof WorkerSchema>

const MICROS = 1_000_000

/** Of a price, less than this is the error of its binary fraction and no amount. */
const NOTHING = 1e-3

/** Rounded up: what is reserved is never too little. */
export const microsOf = (price: number): number => Math.max(0, Math.ceil(price * MICROS - NOTHING))

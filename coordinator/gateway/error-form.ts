/**
 * How errors are told. A route names the form of its API in its `config`, since a body that cannot be read is answered before
 * any handler runs; where no route fits, the caller shows by its headers which API it speaks.
 */
import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import type { SkeinError } from '../../mesh/protocol/index.ts'
import { ANTHROPIC_ERRORS, speaksAnthropic } from './anthropic-errors.ts'
import { isOllamaPath, OLLAMA_ERRORS } from './ollama-errors.ts'
import { errorBody, ErrorBodySchema, errorHeaders } from './openai-errors.ts'

export interface ErrorForm {
  body(error: SkeinError, requestId: string): object
  headers(error: SkeinError, requestId: string): Record<string, string>
  /** Of the body. */
  readonly schema: TSchema
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** OpenAI's when absent. */
    errors?: ErrorForm
    /** Anthropic has this address too: who asks decides. */
    isAnthropicsToo?: boolean
  }
}

const OPENAI_ERRORS: ErrorForm = { body: errorBody, headers: errorHeaders, schema: ErrorBodySchema }

/** Those that the route at `url`, as it is registered, may have. */
export function errorFormsAt(url: string, { errors, isAnthropicsToo }: FastifyContextConfig): readonly ErrorForm[] {
  if (isOllamaPath(url)) return [OLLAMA_ERRORS]
  return isAnthropicsToo === true ? [OPENAI_ERRORS, ANTHROPIC_ERRORS] : [errors ?? OPENAI_ERRORS]
}

export function errorFormOf({ routeOptions, headers, url, is404 }: FastifyRequest): ErrorForm {
  if (isOllamaPath(url)) return OLLAMA_ERRORS
  const { errors, isAnthropicsToo } = routeOptions.config
  if (errors) return errors
  return (is404 || isAnthropicsToo === true) && speaksAnthropic(headers) ? ANTHROPIC_ERRORS : OPENAI_ERRORS
}

/**
 * How errors are told. A route names the form of its API in its `config`, since a body that cannot be read is answered before
 * any handler runs; where no route fits, the caller shows by its headers which API it speaks.
 */
import type { FastifyRequest } from 'fastify'
import type { SkeinError } from '../../mesh/protocol/index.ts'
import { ANTHROPIC_ERRORS, speaksAnthropic } from './anthropic-errors.ts'
import { isOllamaPath, OLLAMA_ERRORS } from './ollama-errors.ts'
import { errorBody, errorHeaders } from './openai-errors.ts'

export interface ErrorForm {
  body(error: SkeinError, requestId: string): object
  headers(error: SkeinError, requestId: string): Record<string, string>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** OpenAI's when absent. */
    errors?: ErrorForm
  }
}

const OPENAI_ERRORS: ErrorForm = { body: errorBody, headers: errorHeaders }

export function errorFormOf({ routeOptions, headers, url }: FastifyRequest): ErrorForm {
  if (isOllamaPath(url)) return OLLAMA_ERRORS
  return routeOptions.config.errors ?? (speaksAnthropic(headers) ? ANTHROPIC_ERRORS : OPENAI_ERRORS)
}

/** Errors as Ollama tells them: a text, under the same statuses and headers as those of OpenAI's API. */
import { Type } from 'typebox'
import type { SkeinError } from '../../mesh/protocol/index.ts'
import { errorHeaders, publicMessage } from './openai-errors.ts'

export const ollamaError = (error: SkeinError, requestId: string): { readonly error: string } => ({
  error: publicMessage(error, requestId),
})

export const OllamaErrorSchema = Type.Object({ error: Type.String() }, { title: 'OllamaError' })

export const OLLAMA_ERRORS = { body: ollamaError, headers: errorHeaders, schema: OllamaErrorSchema }

/** Whether an address is one of Ollama's, or would be. */
export const isOllamaPath = (url: string): boolean => url.startsWith('/api/')

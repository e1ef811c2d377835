/**
 * vLLM asked by token ids, where its vocabulary is that of the model's file (`agreement.ts`): it gets ids and gives ids, and
 * text, stop strings and tool calls are made of them here. By its own API for that where the server has one that streams, else
 * by completions, which know nothing of templates when they are given ids.
 */
import { Type } from 'typebox'
import { checker } from '../../../mesh/protocol/index.ts'
import { reasonOf, samplingFor, unexpected, type Dialect } from './dialects.ts'
import { saidBy, type UpstreamClient } from './http.ts'

const GENERATE = '/inference/v1/generate'
const ASK_MS = 30_000

const isEvent = checker(
  Type.Object({
    choices: Type.Array(
      Type.Object({
        token_ids: Type.Optional(Type.Union([Type.Array(Type.Integer({ minimum: 0 })), Type.Null()])),
        finish_reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      }),
      { maxItems: 1 },
    ),
  }),
)

/** @param ends ids that end an answer. @param generates whether the server has the API that takes ids alone. */
export function vllmByIds(ends: readonly number[], generates: boolean): Dialect {
  return {
    isByIds: true,
    hearsIds: true,
    request: (question) => {
      const { model, rendered, answer, maxTokens, isEndless } = question
      const ids = [...(rendered.ids ?? []), ...answer]
      const sampling = {
        max_tokens: Math.max(1, maxTokens),
        // the server may know fewer of them
        stop_token_ids: isEndless ? [] : ends,
        ...samplingFor('vllm', question),
      }
      return {
        path: generates ? GENERATE : '/v1/completions',
        framing: 'sse',
        body: generates
          ? { model, token_ids: ids, stream: true, sampling_params: sampling }
          : { model, prompt: ids, stream: true, return_token_ids: true, ...sampling },
      }
    },
    hear: (event) => {
      if (!isEvent(event) || saidBy(event) !== undefined) throw unexpected(event)
      const [choice] = event.choices
      const ids = choice?.token_ids ?? []
      if (!choice?.finish_reason) return { text: '', ids }
      return { text: '', ids, finishReason: reasonOf(choice.finish_reason, { stop: 'stop', length: 'length' }) }
    },
  }
}

/** Whether the server has the API that takes ids, and streams there, which older ones do not. One token is made. */
export async function hasGenerate(client: UpstreamClient, model: string, id: number): Promise<boolean> {
  const body = { model, token_ids: [id], stream: true, sampling_params: { max_tokens: 1, temperature: 0 } }
  const { status, headers } = await client.ask(GENERATE, { body, withinMs: ASK_MS })
  return status === 200 && (headers['content-type'] ?? '').includes('text/event-stream')
}

/** What a chat template tells of the thoughts of its model, without the model. */
import { runInNewContext } from 'node:vm'
import type { Thinking } from '../../../mesh/protocol/index.ts'
import { ChatTemplate, THOUGHT_MARKS, writesChannels } from './chat-template.ts'

/** A template is a program of somebody else's: one that runs longer than this in ms is not asked again. */
const PROBE_MS = 2000

/** How answers to chats that `template` wrote show thoughts: a function of the template; `undefined` when they do not. */
export function thinkingOf(template: string): Thinking | undefined {
  if (!writesChannels(template) && !THOUGHT_MARKS.some(({ close }) => template.includes(close))) return undefined
  const variables = { bos_token: '', eos_token: '', eot_token: '' }
  const probe = (): Thinking | undefined =>
    new ChatTemplate(
      template,
      variables,
      () => 0,
      () => true,
    ).thinking
  try {
    return runInNewContext('probe()', { probe }, { timeout: PROBE_MS }) as Thinking | undefined
  } catch {
    // that it is no template is told when the model is loaded
    return undefined
  }
}

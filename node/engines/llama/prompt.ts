/**
 * From a prompt to token ids, with the model's own chat template. The template's text becomes special tokens where it
 * names them; what a message says never does: a user who writes `<|im_end|>` has written ten characters.
 */
import {
  GeneralChatWrapper,
  JinjaTemplateChatWrapper,
  type ChatHistoryItem,
  type ChatWrapper,
  type LlamaModel,
} from 'node-llama-cpp'
import { SkeinError, type ChatMessage, type Prompt } from '../../../mesh/protocol/index.ts'

function historyItem(message: ChatMessage): ChatHistoryItem {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { type: 'system', text: message.content }
    case 'assistant':
      return { type: 'model', response: [message.content] }
    default:
      return { type: 'user', text: message.content }
  }
}

export class PromptRenderer {
  readonly #model: LlamaModel
  readonly #wrappers: readonly ChatWrapper[]

  /** @param template the model's own; a plain "### Human" form is used without one. */
  constructor(model: LlamaModel, template: string | undefined) {
    this.#model = model
    if (template === undefined) {
      this.#wrappers = [new GeneralChatWrapper()]
      return
    }
    // messages as they came; joined ones for templates that insist on alternating roles
    this.#wrappers = [false, true].map(
      (joinAdjacentMessagesOfTheSameType) =>
        new JinjaTemplateChatWrapper({
          template,
          joinAdjacentMessagesOfTheSameType,
          trimLeadingWhitespaceInResponses: false,
          tokenizer: model.tokenizer,
        }),
    )
  }

  /** @throws SkeinError ENGINE_FAILED when the template refuses the messages. */
  tokenize(prompt: Prompt): number[] {
    const ids = prompt.kind === 'text' ? this.#model.tokenize(prompt.text, false) : this.#chat(prompt.messages)
    const { bos, shouldPrependBosToken } = this.#model.tokens
    if (bos !== null && (shouldPrependBosToken || ids.length === 0) && ids[0] !== bos) ids.unshift(bos)
    return ids
  }

  #chat(messages: readonly ChatMessage[]): number[] & ReturnType<LlamaModel['tokenize']> {
    const chatHistory: ChatHistoryItem[] = [...messages.map(historyItem), { type: 'model', response: [] }]
    let refusal: unknown
    for (const wrapper of this.#wrappers) {
      try {
        return wrapper.generateContextState({ chatHistory }).contextText.tokenize(this.#model.tokenizer)
      } catch (error) {
        refusal = error
      }
    }
    throw new SkeinError('ENGINE_FAILED', "the model's chat template refuses these messages", { cause: refusal })
  }
}

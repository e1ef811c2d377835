/** `skein chat`: a conversation in the terminal. Ctrl-C stops the answer, Ctrl-D or /exit ends the chat. */
import { Argument, Option, type Command } from 'commander'
import { asSkeinError, DEVICE_LEVELS, SkeinError, type DeviceLevel } from '../../../mesh/protocol/index.ts'
import { SystemClock, type Clock } from '../../../mesh/runtime/index.ts'
import { runCommand, summary, type ChatState } from '../chat/commands.ts'
import { Conversation, withAttachments } from '../chat/conversation.ts'
import { editText } from '../chat/editor.ts'
import { ChatMemory } from '../chat/files.ts'
import { Lines } from '../chat/lines.ts'
import { Multiline } from '../chat/multiline.ts'
import { createContext, type Context } from '../context.ts'
import type { ChatMessage, CoordinatorClient, GenerateInit } from '../coordinator-client.ts'
import type { GenerateResult } from '../answer-stream.ts'
import { Interrupted } from '../interrupt.ts'
import { ThoughtDisplay } from '../thoughts.ts'
import { printable } from '../printable.ts'
import { isYes } from '../yes-no.ts'
import { addGenerateOptions, type GenerateOptions } from './run.ts'

export function registerChat(program: Command): void {
  addGenerateOptions(
    program
      .command('chat')
      .description('chat with a model of the mesh in the terminal')
      .addArgument(new Argument('[model]', 'name or digest; the first model of the mesh when absent')),
  )
    .addOption(
      new Option(
        '--devices <level>',
        'what the model may do with devices (default: read, where there are some)',
      ).choices([...DEVICE_LEVELS]),
    )
    .addOption(new Option('--local-only', 'nothing that is asked leaves your own devices'))
    .addOption(new Option('-c, --continue', 'go on with the last conversation'))
    .addOption(new Option('--no-history', 'keep neither the conversation nor what was typed on this machine'))
    .action(async (model: string | undefined, options: ChatOptions) => {
      const context = createContext(options)
      const client = context.client()
      const memory = new ChatMemory(context.dataDir)
      const conversation = options.continue === true ? await memory.last() : new Conversation(undefined)
      if (options.system !== undefined) conversation.system = options.system
      const found = model ?? (await firstModel(client))
      await new Chat({ context, client, memory, conversation, options, model: found }).run()
    })
}

async function firstModel(client: CoordinatorClient): Promise<string> {
  const model = (await client.models()).find(({ features }) => features.includes('completion'))
  if (!model)
    throw new SkeinError('NO_NODE', 'no node of the mesh has a model yet; start one with: skein node --model PATH')
  return model.aliases[0] ?? model.digest
}

interface ChatOptions extends GenerateOptions {
  readonly devices?: DeviceLevel
  readonly localOnly?: boolean
  readonly continue?: boolean
  readonly history: boolean
}

interface ChatInit {
  readonly context: Context
  readonly client: CoordinatorClient
  readonly memory: ChatMemory
  readonly conversation: Conversation
  readonly options: ChatOptions
  readonly model: string
}

class Chat {
  readonly #context: Context
  readonly #client: CoordinatorClient
  readonly #memory: ChatMemory
  readonly #options: ChatOptions
  readonly #state: ChatState
  readonly #clock: Clock = new SystemClock(true)
  readonly #multiline = new Multiline()
  #devices: DeviceLevel = 'none'
  #lines: Lines | undefined
  #typed: readonly string[] = []
  #answer: AbortController | undefined

  constructor({ context, client, memory, conversation, options, model }: ChatInit) {
    this.#context = context
    this.#client = client
    this.#memory = memory
    this.#options = options
    const { maxTokens, temperature, seed, localOnly = false } = options
    const settings = { maxTokens, temperature, seed, isVerbose: false, isLocalOnly: localOnly }
    this.#state = { model, conversation, attachments: [], ...settings }
  }

  async run(): Promise<void> {
    const { output } = this.#context
    // asked for before anybody reads: lines that nobody waits for are lost
    this.#devices = this.#options.devices ?? (await this.#usualDevices())
    const lines = new Lines({
      history: this.#options.history ? await this.#memory.lines() : [],
      onInterrupt: () => this.#interrupt(),
      onHistory: (typed) => (this.#typed = [...typed]),
    })
    this.#lines = lines
    const devices = this.#devices === 'none' ? '' : ` · may ${this.#devices === 'act' ? 'set' : 'read'} devices`
    const local = this.#state.isLocalOnly ? ' · local only' : ''
    output.note(`${printable(this.#state.model)}${devices}${local} · /help for commands`)
    if (this.#state.conversation.messages.length > 0) output.note(summary(this.#state.conversation.messages))
    try {
      await this.#loop(lines)
    } finally {
      lines.close()
      if (this.#keeps && this.#typed.length > 0) await this.#memory.keepLines(this.#typed)
    }
  }

  /** What a script asks is the script's; what a person asks is kept, unless the person says otherwise. */
  get #keeps(): boolean {
    return this.#options.history && (this.#lines?.isTerminal === true || this.#options.continue === true)
  }

  async #loop(lines: Lines): Promise<void> {
    lines.prompt('> ')
    for await (const { text, isPasted } of lines) {
      if (text.trim() === '/exit' || text.trim() === '/quit') return
      // a paste of several lines is one question, which ends with the line that is typed
      const message = this.#multiline.take(isPasted && !text.endsWith('\\') ? `${text}\\` : text)
      if (message !== undefined) await this.#take(message)
      lines.prompt(this.#multiline.isOpen ? '… ' : '> ')
    }
    const rest = this.#multiline.rest()
    if (rest !== undefined) await this.#take(rest)
  }

  async #take(message: string): Promise<void> {
    if (message === '') return
    try {
      if (message.startsWith('/')) await runCommand(message, this.#state, this.#port())
      else await this.#ask(message)
    } catch (error) {
      this.#context.output.note(asSkeinError(error).message)
    }
  }

  #port(): Parameters<typeof runCommand>[2] {
    return {
      note: (text) => this.#context.output.note(text),
      models: async () => (await this.#client.models()).map(({ aliases, digest }) => aliases[0] ?? digest),
      ask: (question) => this.#ask(question),
      edit: (text) => {
        if (this.#lines?.isTerminal !== true) throw new SkeinError('USAGE', 'there is no terminal to edit in')
        return this.#lines.suspended(() => editText(text))
      },
    }
  }

  #interrupt(): void {
    if (this.#answer) return this.#answer.abort(new Interrupted('stopped'))
    if (!this.#multiline.isOpen) return this.#lines?.close()
    this.#multiline.drop()
    this.#context.output.note('')
    this.#lines?.prompt('> ')
  }

  async #ask(question: string): Promise<void> {
    const { output } = this.#context
    const { conversation, attachments } = this.#state
    const asked: ChatMessage = { role: 'user', content: withAttachments(question, attachments) }
    this.#answer = new AbortController()
    let answer = ''
    let thought = ''
    const isShown = this.#options.showThinking === true || process.stderr.isTTY === true
    const thoughts = new ThoughtDisplay(output, isShown)
    const take = (piece: string): void => {
      thoughts.end()
      answer += piece
      output.answer(piece)
    }
    const think = (piece: string): void => {
      thought += piece
      thoughts.thought(piece)
    }
    const startMs = this.#clock.nowMs()
    let result: GenerateResult | undefined
    try {
      const listener = { text: take, thought: think, status: (text: string) => this.#status(text) }
      result = await this.#client.generate(this.#request([...conversation.sent, asked]), listener, this.#answer.signal)
    } catch (thrown) {
      if (thrown instanceof Interrupted) output.note(' [stopped]')
      else output.note(`\n${asSkeinError(thrown).message}`)
    } finally {
      this.#answer = undefined
    }
    thoughts.end()
    output.answer('\n')
    if (result && this.#state.isVerbose) output.note(about(result, this.#clock.nowMs() - startMs))
    // A stopped or broken answer stays in the conversation as far as it came; one that never began leaves no trace.
    if (answer === '') return
    this.#state.attachments = []
    conversation.add(asked)
    conversation.add({ role: 'assistant', content: answer, ...(thought !== '' && { reasoning_content: thought }) })
    if (this.#keeps) await this.#memory.keep(conversation)
  }

  #request(messages: readonly ChatMessage[]): GenerateInit {
    const { model, maxTokens, temperature, seed, isLocalOnly } = this.#state
    return {
      ...{ model, messages, think: this.#options.think, devices: this.#devices, localOnly: isLocalOnly },
      ...(maxTokens !== undefined && { maxTokens }),
      ...(temperature !== undefined && { temperature }),
      ...(seed !== undefined && { seed }),
    }
  }

  /** Where there are devices that this key may read. */
  async #usualDevices(): Promise<DeviceLevel> {
    try {
      return (await this.#client.devices.list()).length > 0 ? 'read' : 'none'
    } catch {
      // an older coordinator has none, and not every key may see them
      return 'none'
    }
  }

  #status(text: string): void {
    const [word, call, ...what] = text.split(' ')
    // that it is called is told with what came of it
    if (word === 'call') return
    if (word === 'confirm' && call !== undefined) return void this.#confirm(call, printable(what.join(' ')))
    this.#context.output.note(printable(text))
  }

  /** Asks the person; where there is none, the answer is no. */
  async #confirm(call: string, what: string): Promise<void> {
    const { output } = this.#context
    try {
      const answer = (await this.#lines?.question(`\n${what}? [y/N] `, this.#answer?.signal)) ?? ''
      await this.#client.devices.confirm(call, isYes(answer))
    } catch (error) {
      if (this.#answer?.signal.aborted !== true) output.note(asSkeinError(error).message)
    }
  }
}

/** `desk-pc · local · 181 tokens in 1.2 s`. */
function about({ node, route, usage, finishReason }: GenerateResult, tookMs: number): string {
  const parts = [
    ...(node === undefined ? [] : [printable(node)]),
    ...(route === undefined ? [] : [route]),
    ...(usage === undefined ? [] : [`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`]),
    `${(tookMs / 1000).toFixed(1)} s`,
    ...(finishReason === 'length' ? ['cut at --max-tokens or the end of its context'] : []),
  ]
  return parts.join(' · ')
}

/** `skein chat`: a conversation in the terminal. Ctrl-C stops the answer, Ctrl-D or /exit ends the chat. */
import { createInterface, type Interface } from 'node:readline/promises'
import { Argument, Option, type Command } from 'commander'
import { asSkeinError, DEVICE_LEVELS, SkeinError, type DeviceLevel } from '../../../mesh/protocol/index.ts'
import { createContext, type Context } from '../context.ts'
import type { ChatMessage, CoordinatorClient } from '../coordinator-client.ts'
import { Interrupted } from '../interrupt.ts'
import { ThoughtDisplay } from '../thoughts.ts'
import { printable } from '../printable.ts'
import { isYes } from '../yes-no.ts'
import { addGenerateOptions, type GenerateOptions } from './run.ts'

const HELP = `/model NAME  use another model    /clear  forget the conversation
/models      list the models      /help   this
/exit        end (or Ctrl-D)      Ctrl-C  stop the answer`

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
    .action(async (model: string | undefined, options: ChatOptions) => {
      const context = createContext(options)
      const client = context.client()
      const chat = new Chat(context, client, model ?? (await firstModel(client)), options)
      await chat.run()
    })
}

const signalOf = (answer: AbortController | undefined): { signal?: AbortSignal } =>
  answer ? { signal: answer.signal } : {}

async function firstModel(client: CoordinatorClient): Promise<string> {
  const model = (await client.models()).find(({ features }) => features.includes('completion'))
  if (!model)
    throw new SkeinError('NO_NODE', 'no node of the mesh has a model yet; start one with: skein node --model PATH')
  return model.aliases[0] ?? model.digest
}

interface ChatOptions extends GenerateOptions {
  readonly devices?: DeviceLevel
}

class Chat {
  readonly #context: Context
  readonly #client: CoordinatorClient
  readonly #options: ChatOptions
  #devices: DeviceLevel = 'none'
  #lines: Interface | undefined
  #model: string
  #messages: ChatMessage[] = []
  #answer: AbortController | undefined

  constructor(context: Context, client: CoordinatorClient, model: string, options: ChatOptions) {
    this.#context = context
    this.#client = client
    this.#model = model
    this.#options = options
    this.#clear()
  }

  async run(): Promise<void> {
    const { output } = this.#context
    // asked for before anybody reads: lines that nobody waits for are lost
    this.#devices = this.#options.devices ?? (await this.#usualDevices())
    const isTerminal = process.stdin.isTTY === true
    const lines = createInterface({
      input: process.stdin,
      ...(isTerminal && { output: process.stderr }),
      terminal: isTerminal,
    })
    lines.on('SIGINT', () => {
      if (this.#answer) this.#answer.abort(new Interrupted('stopped'))
      else lines.close()
    })
    const devices = this.#devices === 'none' ? '' : ` · may ${this.#devices === 'act' ? 'set' : 'read'} devices`
    output.note(`${this.#model}${devices} · /help for commands`)
    if (isTerminal) this.#lines = lines
    try {
      await this.#loop(lines, isTerminal)
    } finally {
      lines.close()
    }
  }

  async #loop(lines: Interface, isTerminal: boolean): Promise<void> {
    let isOpen = true
    lines.once('close', () => (isOpen = false))
    // A pipe is at its end long before its last lines are answered; nobody reads a prompt there anyway.
    const prompt = (): void => {
      if (isTerminal && isOpen) lines.prompt()
    }
    lines.setPrompt('> ')
    prompt()
    for await (const line of lines) {
      const text = line.trim()
      if (text === '/exit' || text === '/quit') return
      if (text.startsWith('/')) await this.#command(text)
      else if (text !== '') await this.#ask(text)
      prompt()
    }
  }

  async #command(text: string): Promise<void> {
    const { output } = this.#context
    const [name, argument] = text.split(/\s+/, 2)
    switch (name) {
      case '/clear':
        this.#clear()
        return output.note('forgotten')
      case '/model':
        if (argument === undefined) return output.note(`the model is ${this.#model}`)
        this.#model = argument
        return output.note(`now ${argument}`)
      case '/models':
        for (const model of await this.#client.models()) output.note(model.aliases[0] ?? model.digest)
        return
      default:
        return output.note(HELP)
    }
  }

  async #ask(text: string): Promise<void> {
    const { output } = this.#context
    const messages: ChatMessage[] = [...this.#messages, { role: 'user', content: text }]
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
    try {
      const init = { ...this.#options, model: this.#model, messages, devices: this.#devices }
      const listener = { text: take, thought: think, status: (text: string) => this.#status(text) }
      await this.#client.generate(init, listener, this.#answer.signal)
    } catch (thrown) {
      if (thrown instanceof Interrupted) output.note(' [stopped]')
      else output.note(`\n${asSkeinError(thrown).message}`)
    } finally {
      this.#answer = undefined
    }
    thoughts.end()
    output.answer('\n')
    // A stopped or broken answer stays in the conversation as far as it came; one that never began leaves no trace.
    const thoughtOf = thought === '' ? {} : { reasoning_content: thought }
    if (answer !== '') this.#messages = [...messages, { role: 'assistant', content: answer, ...thoughtOf }]
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
      const answer = (await this.#lines?.question(`\n${what}? [y/N] `, signalOf(this.#answer))) ?? ''
      await this.#client.devices.confirm(call, isYes(answer))
    } catch (error) {
      if (this.#answer?.signal.aborted !== true) output.note(asSkeinError(error).message)
    }
  }

  #clear(): void {
    this.#messages = this.#options.system === undefined ? [] : [{ role: 'system', content: this.#options.system }]
  }
}

/** The `/` commands of `skein chat`, as one table: what is shown by `/help` is what there is. */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { ChatMessage } from '../coordinator-client.ts'
import { printable } from '../printable.ts'
import type { Attachment, Conversation } from './conversation.ts'
import { loadConversation, readAttachment, saveConversation } from './files.ts'

/** What commands read and change. */
export interface ChatState {
  model: string
  conversation: Conversation
  attachments: Attachment[]
  maxTokens: number | undefined
  temperature: number | undefined
  seed: number | undefined
  /** Whether a line about each answer follows it. */
  isVerbose: boolean
  /** Whether nothing that is asked leaves the owner's devices. */
  isLocalOnly: boolean
}

export interface ChatPort {
  note(text: string): void
  models(): Promise<readonly string[]>
  /** Asks `question`, beside the conversation so far. */
  ask(question: string): Promise<void>
  /** Opens the person's editor on `text`; what it was saved with. */
  edit(text: string): Promise<string>
}

interface ChatCommand {
  readonly usage: string
  readonly help: string
  run(state: ChatState, argument: string, port: ChatPort): void | Promise<void>
}

const numberOf = (text: string, isWhole: boolean): number | undefined => {
  if (text === 'off' || text === '') return undefined
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0 || (isWhole && !Number.isSafeInteger(value)))
    throw new SkeinError('USAGE', `'${text}' is no ${isWhole ? 'whole ' : ''}number; off takes it back`)
  return value
}

const onOff = (text: string, now: boolean): boolean => {
  if (text === '') return !now
  if (text === 'on' || text === 'off') return text === 'on'
  throw new SkeinError('USAGE', 'say on or off')
}

function needed(argument: string, usage: string): string {
  if (argument === '') throw new SkeinError('USAGE', `it is: ${usage}`)
  return argument
}

const SETTINGS: Readonly<Record<string, (state: ChatState, value: string) => string>> = {
  temperature: (state, value) => {
    state.temperature = numberOf(value, false)
    return `temperature ${state.temperature ?? 'as the model has it'}`
  },
  'max-tokens': (state, value) => {
    state.maxTokens = numberOf(value, true)
    return `max-tokens ${state.maxTokens ?? 'as many as fit'}`
  },
  seed: (state, value) => {
    state.seed = numberOf(value, true)
    return `seed ${state.seed ?? 'another each time'}`
  },
  verbose: (state, value) => {
    state.isVerbose = onOff(value, state.isVerbose)
    return `verbose ${state.isVerbose ? 'on' : 'off'}`
  },
}

export const COMMANDS: Readonly<Record<string, ChatCommand>> = {
  model: {
    usage: '/model [NAME]',
    help: 'use another model, or say which it is',
    run: (state, argument, { note }) => {
      if (argument !== '') state.model = argument
      note(`${argument === '' ? 'the model is' : 'now'} ${printable(state.model)}`)
    },
  },
  models: {
    usage: '/models',
    help: 'list the models of the mesh',
    run: async (_state, _argument, { note, models }) => {
      for (const model of await models()) note(printable(model))
    },
  },
  system: {
    usage: '/system [TEXT]',
    help: 'set the system message, or show it; "/system off" takes it away',
    run: (state, argument, { note }) => {
      if (argument !== '') state.conversation.system = argument === 'off' ? undefined : argument
      note(state.conversation.system ?? 'there is no system message')
    },
  },
  set: {
    usage: '/set NAME VALUE',
    help: `${Object.keys(SETTINGS).join(', ')}; "off" takes a value back`,
    run: (state, argument, { note }) => {
      const [name = '', value = ''] = argument.split(/\s+/, 2)
      const setting = Object.hasOwn(SETTINGS, name) ? SETTINGS[name] : undefined
      if (!setting) throw new SkeinError('USAGE', `there are: ${Object.keys(SETTINGS).join(', ')}`)
      note(setting(state, value))
    },
  },
  local: {
    usage: '/local [on|off]',
    help: 'whether all of it stays on your own devices',
    run: (state, argument, { note }) => {
      state.isLocalOnly = onOff(argument, state.isLocalOnly)
      note(state.isLocalOnly ? 'nothing leaves your devices' : 'it may leave, as far as your policy lets it')
    },
  },
  attach: {
    usage: '/attach FILE',
    help: 'send a text file along with the next question',
    run: async (state, argument, { note }) => {
      const file = await readAttachment(needed(argument, '/attach FILE'))
      state.attachments.push(file)
      note(`${printable(file.name)} (${file.text.length} characters) goes along with the next question`)
    },
  },
  edit: {
    usage: '/edit',
    help: 'write the question in your editor ($EDITOR)',
    run: async (_state, argument, port) => {
      const text = (await port.edit(argument)).trim()
      if (text === '') port.note('nothing was written')
      else await port.ask(text)
    },
  },
  again: {
    usage: '/again',
    help: 'have the last question answered anew',
    run: async (state, _argument, port) => {
      const question = state.conversation.takeBack()
      if (question === undefined) port.note('nothing was asked yet')
      else await port.ask(question)
    },
  },
  undo: {
    usage: '/undo',
    help: 'take back the last question and its answer',
    run: (state, _argument, { note }) => {
      note(state.conversation.takeBack() === undefined ? 'nothing was asked yet' : 'taken back')
    },
  },
  save: {
    usage: '/save FILE',
    help: 'write the conversation: .md to read, else to load again',
    run: async (state, argument, { note }) => {
      await saveConversation(needed(argument, '/save FILE'), state.conversation)
      note(`saved: ${printable(argument)}`)
    },
  },
  load: {
    usage: '/load FILE',
    help: 'go on with a saved one',
    run: async (state, argument, { note }) => {
      state.conversation = await loadConversation(needed(argument, '/load FILE'))
      note(summary(state.conversation.messages))
    },
  },
  clear: {
    usage: '/clear',
    help: 'forget the conversation',
    run: (state, _argument, { note }) => {
      state.conversation.clear()
      state.attachments = []
      note('forgotten')
    },
  },
  help: { usage: '/help', help: 'this', run: (_state, _argument, { note }) => note(helpText()) },
}

const KEYS: readonly (readonly [string, string])[] = [
  ['/exit', 'end (or Ctrl-D)'],
  ['"""', 'begins and ends a question of several lines; \\ at the end of a line goes on, too'],
  ['Ctrl-C', 'stop the answer; twice: end'],
]

export function helpText(): string {
  const rows = [...Object.values(COMMANDS).map(({ usage, help }) => [usage, help] as const), ...KEYS]
  const width = Math.max(...rows.map(([usage]) => usage.length))
  return rows.map(([usage, help]) => `${usage.padEnd(width)}  ${help}`).join('\n')
}

/** What is told of a conversation that one goes on with. */
export function summary(messages: readonly ChatMessage[]): string {
  const questions = messages.filter(({ role }) => role === 'user')
  const last = questions.at(-1)?.content.split('\n')[0] ?? ''
  const shown = last.length > 60 ? `${last.slice(0, 59)}…` : last
  return `${questions.length} ${questions.length === 1 ? 'question' : 'questions'}${last === '' ? '' : `, the last: ${printable(shown)}`}`
}

/** @throws SkeinError USAGE for a command that there is not, and whatever the command throws. */
export async function runCommand(text: string, state: ChatState, port: ChatPort): Promise<void> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(text) ?? []
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) throw new SkeinError('USAGE', `there is no /${printable(name)}; /help lists what there is`)
  await command.run(state, argument.trim(), port)
}

/** Completes the name of a command, for readline. */
export function completeCommand(line: string): [string[], string] {
  if (!/^\/\S*$/.test(line)) return [[], line]
  const names = [...Object.keys(COMMANDS), 'exit'].map((name) => `/${name}`)
  return [names.filter((name) => name.startsWith(line)), line]
}

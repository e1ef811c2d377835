/**
 * A chat as its model's own template writes it (Jinja, as Hugging Face's tokenizers render it), with what the template says
 * kept apart from what it was told to say: the first may name special tokens, the second never becomes one. While the
 * template runs, every text of a message or a tool is a placeholder, so that it cannot be mistaken for markup there
 * either; behind it the placeholders are put back, within JSON as JSON has them.
 */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import {
  asSkeinError,
  CALL_OPEN,
  LIMITS,
  SkeinError,
  type ChatMessage,
  type Prompt,
  type Thinking,
  type ThinkingWish,
  type Tool,
} from '../../../mesh/protocol/index.ts'
import type { CallSyntax } from '../call-text.ts'
import { CHANNEL_THOUGHT } from '../channel-text.ts'
import { apart, CALL_FORMS, messageOf, toolOf, type CallForm, type Turn } from './call-forms.ts'
import { Placeholders, type ChatPiece, type IsPlain } from './placeholders.ts'
import { inWords } from './worded-tools.ts'

export type ChatPrompt = Extract<Prompt, { kind: 'chat' }>

/** What a template may know beside the chat. */
export interface TemplateVariables {
  readonly bos_token: string
  readonly eos_token: string
  readonly eot_token: string
}

/** For models that have none. */
const PLAIN_TEMPLATE = `{{ bos_token }}{% for message in messages %}
{%- if message.role == 'user' %}### Human
{% elif message.role == 'assistant' %}### Assistant
{% elif not loop.first %}### System
{% endif %}{{ message.content }}

{% endfor %}{% if add_generation_prompt %}### Assistant
{% endif %}`

/** Whether models with this template answer in channels. */
export const writesChannels = (template: string): boolean =>
  ['<|channel|>analysis', '<|channel|>final', '<|start|>assistant'].every((word) => template.includes(word))

/** As Llama 3's template tells the model to write one. */
const PLAIN_CALL = /\{\s*"name":[^{}]*"parameters":/

const NAMES_TOOLS = /\btools\b/

/** How a model with this template calls tools, if it shows any: a function of the template alone. */
export function callSyntaxOf(template: string): CallSyntax | undefined {
  if (!NAMES_TOOLS.test(template)) return undefined
  const has = (mark: string): boolean => template.includes(mark)
  if (writesChannels(template)) return has('to=') && has('functions.') ? 'channels' : undefined
  // marks that are ours around what is not
  if (has('<arg_key>')) return undefined
  if (has('<function=')) return has(CALL_OPEN) && has('<parameter=') ? 'parameters' : undefined
  if (has(CALL_OPEN)) return 'tagged'
  if (has('[TOOL_CALLS]')) return has('[ARGS]') ? 'mistral-named' : 'mistral'
  if (has('<｜tool▁call▁begin｜>')) return has('```json') ? 'deepseek' : 'deepseek-bare'
  if (has('<|START_ACTION|>')) return has('"tool_name"') ? 'command' : undefined
  if (has('<|tool_call|>')) return has('<|/tool_call|>') ? 'phi' : 'granite'
  // behind a thought a bare call could not be told from what is said
  const isThinking = THOUGHT_MARKS.some(({ close }) => has(close))
  return PLAIN_CALL.test(template) && !isThinking ? 'plain' : undefined
}

/** Marks that templates put around thoughts. */
export const THOUGHT_MARKS: readonly Pick<Thinking, 'open' | 'close'>[] = [
  { open: '<think>', close: '</think>' },
  { open: '[THINK]', close: '[/THINK]' },
  { open: '<|START_THINKING|>', close: '<|END_THINKING|>' },
  { open: '<seed:think>', close: '</seed:think>' },
]

/** The names under which templates look for what a request says of thinking; they think where they can unless told not to. */
const wished = ({ isOn, effort }: ThinkingWish = {}): Readonly<Record<string, unknown>> => ({
  enable_thinking: isOn ?? true,
  ...(isOn !== undefined && { thinking: isOn }),
  ...(effort !== undefined && { reasoning_effort: effort }),
})

/** How the messages are put to a template, since not all take them as they come. */
interface Arrangement {
  /** Templates that insist on alternating roles. */
  readonly isJoined: boolean
  /** Templates without a system role. */
  readonly hasSystem: boolean
  /** Templates that take one tool call in a message. */
  readonly isSplit?: true
}
const ARRANGEMENTS: readonly Arrangement[] = [
  { isJoined: false, hasSystem: true },
  { isJoined: false, hasSystem: false },
  { isJoined: false, hasSystem: true, isSplit: true },
  { isJoined: true, hasSystem: true },
  { isJoined: true, hasSystem: false },
]

/** Of templates that show the first call of a message, and leave the others out. */
const SPLIT_FIRST = ARRANGEMENTS.toSorted((a, b) => Number(b.isSplit ?? false) - Number(a.isSplit ?? false))

const asUser = (system: Turn): Turn => ({
  role: 'user',
  content: `### System message\n\n${system.content}\n\n----`,
})

/** Of a tool that templates are looked at with. */
const PROBE = 'probe.tool-1'

/** What a template is told beside the messages. */
interface Rendering {
  readonly tools?: readonly Tool[] | undefined
  readonly thinking?: ThinkingWish | undefined
  readonly form: CallForm
}

/** By this name, and by no other, a template is told the time. */
const CLOCK = 'strftime_now'

/** Whether what `template` writes may depend on when it is asked. */
export const readsClock = (template: string): boolean => template.includes(CLOCK)

export class ChatTemplate {
  /** Whether its model can be given tools. */
  readonly hasTools: boolean
  /** Of one that can. */
  readonly callSyntax: CallSyntax | undefined
  /** Whether its answers are in channels. */
  readonly hasChannels: boolean
  /** How its answers show what the model thinks; absent when they do not. */
  readonly thinking: Thinking | undefined
  /** Whether it knows no tools, so that its model is told of them in words. */
  readonly #isWorded: boolean
  readonly #run: (variables: Readonly<Record<string, unknown>>) => string
  readonly #isPlain: IsPlain
  /** Whether it writes the beginning of an answer when it is asked to. */
  readonly #opensAnswers: boolean
  /** How it is shown earlier calls. */
  readonly #callForm: CallForm

  /**
   * @param source of the model, if it has one.
   * @param now wall clock in ms, of `strftime_now`.
   * @throws SkeinError MODEL_LOAD_FAILED when it is no template.
   */
  constructor(source: string | undefined, variables: TemplateVariables, now: () => number, isPlain: IsPlain) {
    this.#run = compile(source ?? PLAIN_TEMPLATE, { ...variables, ...wished() }, now)
    this.#isPlain = isPlain
    this.hasChannels = source !== undefined && writesChannels(source)
    const syntax = source === undefined ? undefined : callSyntaxOf(source)
    // Command's begins an answer without being asked; what comes next, a thought, calls or a response, is the model's
    this.#opensAnswers = syntax === 'command' || this.#doesOpenAnswers()
    // what calls of its own look like is known of no template that names tools and is not known here
    this.#isWorded = source !== undefined && !this.hasChannels && !NAMES_TOOLS.test(source)
    this.hasTools = this.#isWorded || (syntax !== undefined && this.#doesShowTools())
    this.callSyntax = this.hasTools ? (syntax ?? 'tagged') : undefined
    this.#callForm = this.#formOfCalls()
    this.thinking = source === undefined ? undefined : this.#thoughts(source)
  }

  /** @throws SkeinError ENGINE_FAILED when the template refuses the messages. */
  render(prompt: ChatPrompt): ChatPiece[] {
    let refusal: unknown
    const { messages, given } = this.#worded(prompt)
    // some templates ask for a list of tools, empty or not
    for (const tools of given ? [given] : [undefined, []])
      for (const arrangement of this.hasChannels ? SPLIT_FIRST : ARRANGEMENTS) {
        try {
          const whole = arranged(messages, arrangement, this.hasTools && !this.#isWorded)
          const turns = this.#callForm.isContentNull ? apart(whole) : whole
          return this.#render(turns, { tools, thinking: prompt.thinking, form: this.#callForm })
        } catch (error) {
          refusal = error
        }
      }
    throw new SkeinError('ENGINE_FAILED', "the model's chat template refuses these messages", { cause: refusal })
  }

  /** What the template is shown of messages and tools. */
  #worded({ messages, tools }: ChatPrompt): { messages: readonly ChatMessage[]; given?: readonly Tool[] } {
    if (!this.#isWorded) return { messages, ...(tools && { given: tools }) }
    const isCalling = tools !== undefined || messages.some(({ toolCalls = [] }) => toolCalls.length > 0)
    return { messages: isCalling ? inWords(messages, tools ?? []) : messages }
  }

  #render(turns: readonly Turn[], { tools, thinking, form }: Rendering): ChatPiece[] {
    const told = new Placeholders(this.#isPlain)
    const contents = turns.filter(({ content }) => content !== '').length
    const calls = turns.flatMap(({ toolCalls = [] }) => toolCalls)
    const calledById = new Map(calls.map(({ id, name }) => [id, name]))
    const messages = turns.map((turn) => messageOf(turn, { calledById, told, form }))
    const end = this.#opensAnswers ? undefined : told.content(' ')
    if (end !== undefined) messages.push({ role: 'assistant', content: end })
    const text = this.#run({
      ...wished(thinking),
      messages,
      ...(tools && { tools: tools.map((tool) => toolOf(tool, told)) }),
      ...(end === undefined && { add_generation_prompt: true }),
    })
    // of the answer to come, what is written in front of its text
    const pieces = told.restore(end === undefined ? text : text.slice(0, Math.max(0, text.lastIndexOf(end))))
    if (told.contentsRestored < contents) throw new SkeinError('ENGINE_FAILED', 'the template leaves messages out')
    return pieces
  }

  #doesOpenAnswers(): boolean {
    const messages = [{ role: 'user', content: 'x' }]
    try {
      return this.#run({ messages, add_generation_prompt: true }) !== this.#run({ messages })
    } catch {
      return true
    }
  }

  #thoughts(source: string): Thinking | undefined {
    if (this.hasChannels) return { ...CHANNEL_THOUGHT, opens: { unsaid: false, on: false, off: false } }
    const marks = THOUGHT_MARKS.find(({ close }) => source.includes(close))
    if (marks === undefined) return undefined
    const opens = (thinking?: ThinkingWish): boolean => {
      const prompt = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: 'x' }] }
      try {
        const pieces = this.render({ ...prompt, ...(thinking && { thinking }) })
        const text = pieces.map((piece) => piece.text).join('')
        return text.trimEnd().endsWith(marks.open)
      } catch {
        return false
      }
    }
    return { ...marks, opens: { unsaid: opens(), on: opens({ isOn: true }), off: opens({ isOn: false }) } }
  }

  #doesShowTools(): boolean {
    const parameters = '{"type":"object","properties":{"x":{"type":"string","description":"x"}}}'
    const tools = [{ name: PROBE, description: 'x', parameters }]
    try {
      return this.#render(arranged([{ role: 'user', content: 'x' }], ARRANGEMENTS[0]!, true), {
        tools,
        form: CALL_FORMS[0]!,
      }).some(({ text }) => text.includes(PROBE))
    } catch {
      return false
    }
  }

  /** The first form in which the template shows an earlier call and all of its arguments. */
  #formOfCalls(): CallForm {
    if (this.callSyntax === undefined || this.#isWorded) return CALL_FORMS[0]!
    const value = 'probe.value-1'
    const toolCalls = [{ id: 'probe0001', name: PROBE, arguments: JSON.stringify({ x: value }) }]
    const messages: readonly ChatMessage[] = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: '', toolCalls },
      { role: 'tool', content: 'x', toolCallId: 'probe0001' },
    ]
    const shows = (form: CallForm): boolean => {
      try {
        const pieces = this.#render(arranged(messages, ARRANGEMENTS[0]!, true), { tools: [], form })
        const text = pieces.map((piece) => piece.text).join('')
        return text.includes(PROBE) && text.includes(value)
      } catch {
        return false
      }
    }
    const forms = CALL_FORMS.map((form) => ({ ...form, hasShortIds: this.callSyntax!.startsWith('mistral') }))
    const due = this.callSyntax === 'granite' ? forms : forms.filter(({ isWritten }) => !isWritten)
    return due.find(shows) ?? forms[0]!
  }
}

function compile(
  source: string,
  constants: Readonly<Record<string, unknown>>,
  now: () => number,
): (variables: Readonly<Record<string, unknown>>) => string {
  let program: ReturnType<typeof parse>
  try {
    program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
  } catch (error) {
    const { message } = asSkeinError(error)
    throw new SkeinError('MODEL_LOAD_FAILED', `the model's chat template cannot be read: ${message}`, { cause: error })
  }
  const globals = {
    ...{ true: true, false: false, none: null, True: true, False: false, None: null },
    raise_exception,
    range,
    [CLOCK]: (format: string) => strftime(format, new Date(now())),
  }
  return (variables) => {
    const environment = new Environment()
    for (const [name, value] of Object.entries({ ...globals, ...constants, ...variables })) environment.set(name, value)
    return String(new Interpreter(environment).run(program).value)
  }
}

function raise_exception(message: unknown): never {
  throw new SkeinError('ENGINE_FAILED', `the template says: ${String(message)}`)
}

/** Python's, of whole numbers. */
function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end]
  const length = Math.max(0, Math.ceil((to - from) / step))
  if (!(length <= LIMITS.messagesMax)) throw new SkeinError('ENGINE_FAILED', 'the template counts too far')
  return Array.from({ length }, (_, i) => from + i * step)
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/** Python's, in English and the machine's time zone, as far as templates use it. */
export function strftime(format: string, date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const fields: Readonly<Record<string, () => string>> = {
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    H: () => two(date.getHours()),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    B: () => MONTHS[date.getMonth()]!,
    b: () => MONTHS[date.getMonth()]!.slice(0, 3),
    A: () => DAYS[date.getDay()]!,
    a: () => DAYS[date.getDay()]!.slice(0, 3),
    '%': () => '%',
  }
  return format.replaceAll(/%([A-Za-z%])/g, (whole, field: string) => fields[field]?.() ?? whole)
}

function arranged(
  messages: readonly ChatMessage[],
  { isJoined, hasSystem, isSplit }: Arrangement,
  hasTools: boolean,
): readonly Turn[] {
  const turns = messages.map((message): Turn => {
    const { role } = message
    if (role === 'system' || role === 'developer')
      return hasSystem ? { ...message, role: 'system' } : asUser({ ...message, role: 'system' })
    // of a model that knows no tools a result is what the user says
    return { ...message, role: role === 'tool' && !hasTools ? 'user' : role }
  })
  if (isSplit) return split(turns)
  if (!isJoined) return turns
  const joined: Turn[] = []
  for (const turn of turns) {
    const last = joined.at(-1)
    if (last === undefined || last.role !== turn.role || turn.role === 'tool') joined.push(turn)
    else joined[joined.length - 1] = join(last, turn)
  }
  return joined
}

/** Each call in a message of its own, with its result behind it. */
function split(turns: readonly Turn[]): readonly Turn[] {
  const results = new Map(turns.flatMap((turn) => (turn.toolCallId === undefined ? [] : [[turn.toolCallId, turn]])))
  return turns.flatMap((turn): readonly Turn[] => {
    const { toolCalls = [], toolCallId } = turn
    if (toolCallId !== undefined && results.get(toolCallId) !== turn) return []
    if (toolCalls.length === 0) return [turn]
    return toolCalls.flatMap((call, i) => {
      const result = results.get(call.id)
      if (result) results.delete(call.id)
      const said = { ...turn, content: i === 0 ? turn.content : '', toolCalls: [call] }
      return result ? [said, result] : [said]
    })
  })
}

function join(first: Turn, second: Turn): Turn {
  const thoughts = [first.thought, second.thought].filter((text) => text !== undefined)
  const toolCalls = [...(first.toolCalls ?? []), ...(second.toolCalls ?? [])]
  const content = [first.content, second.content].filter((text) => text !== '').join('\n\n')
  return {
    ...first,
    content,
    ...(thoughts.length > 0 && { thought: thoughts.join('\n\n') }),
    ...(toolCalls.length > 0 && { toolCalls }),
  }
}

/** `skein run MODEL [PROMPT]`: one answer on stdout. The prompt may come from a pipe. */
import { Argument, InvalidArgumentError, Option, type Command } from 'commander'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { interruptSignal } from '../interrupt.ts'
import { ThoughtDisplay } from '../thoughts.ts'
import { renderEstimate } from './estimate.ts'

export interface GenerateOptions extends ClientOptions {
  readonly system?: string
  readonly maxTokens?: number
  readonly temperature?: number
  readonly seed?: number
  readonly think: boolean
  readonly showThinking?: true
}

interface RunOptions extends GenerateOptions {
  readonly localOnly?: true
  readonly estimate?: true
}

const whole = (text: string): number => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number')
  return value
}
const decimal = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('a number')
  return value
}

export function addGenerateOptions(command: Command): Command {
  return addClientOptions(command)
    .addOption(new Option('--system <text>', 'system message'))
    .addOption(new Option('--max-tokens <n>', 'end the answer after so many tokens').argParser(whole))
    .addOption(new Option('--temperature <t>', '0 is greedy').argParser(decimal))
    .addOption(new Option('--seed <n>', 'same seed, same draws').argParser(whole))
    .addOption(new Option('--no-think', 'ask the model to answer without thinking first, if it can'))
    .addOption(new Option('--show-thinking', 'show what the model thinks, on stderr'))
}

export function registerRun(program: Command): void {
  addGenerateOptions(
    program
      .command('run')
      .description('ask a model of the mesh once')
      .argument('<model>', 'name or digest, as `skein models` shows it')
      .addArgument(new Argument('[prompt...]', 'the question; read from stdin when absent'))
      .addOption(new Option('--local-only', 'nothing of it leaves your own nodes'))
      .addOption(new Option('--estimate', 'say where it would go and what it would cost, and ask nothing')),
  ).action(async (model: string, words: string[], options: RunOptions) => {
    const { output, client } = createContext(options)
    const prompt = words.length > 0 ? words.join(' ') : await readStdin()
    const system = options.system === undefined ? [] : [{ role: 'system' as const, content: options.system }]
    const init = { ...options, model, messages: [...system, { role: 'user' as const, content: prompt }] }
    if (options.estimate) {
      const estimate = await client().estimate(init)
      return output.json ? output.value(estimate) : output.line(renderEstimate(estimate))
    }
    let text = ''
    let thought = ''
    const thoughts = new ThoughtDisplay(output, options.showThinking === true)
    const take = (piece: string): void => {
      thoughts.end()
      if (output.json) text += piece
      else output.answer(piece)
    }
    const think = (piece: string): void => {
      if (output.json) thought += piece
      else thoughts.thought(piece)
    }
    const listener = { text: take, thought: think, status: output.note }
    const result = await client().generate(init, listener, interruptSignal())
    thoughts.end()
    if (output.json) output.value({ text, ...(thought === '' ? {} : { thought }), ...result })
    else output.answer('\n')
  })
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) throw new SkeinError('USAGE', 'no prompt: give it as an argument or through a pipe')
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  const prompt = Buffer.concat(chunks).toString('utf8').trim()
  if (prompt === '') throw new SkeinError('USAGE', 'the prompt is empty')
  return prompt
}

/** `--adapter`: models that are another one with adapters. */
import { InvalidArgumentError, Option } from 'commander'
import { LIMITS } from '../../mesh/protocol/index.ts'

export interface AdapterChoice {
  /** Under which the pair is served. */
  readonly name: string
  /** What `--model` takes. */
  readonly base: string
  readonly adapters: readonly { readonly file: string; readonly scale: number }[]
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
/** Far beyond what an adapter is used with; more would be infinite in 32 bits sooner or later. */
const SCALE_MAX = 1000

const BETWEEN = /\s+(?=[^\s=,]+=)/
/** A file's name may have an `@` of its own: a number behind the last one is the scale. */
const FILE = /^(.+?)(?:@(-?\d+(?:\.\d+)?))?$/

/** `NAME=MODEL,FILE[@SCALE][,FILE[@SCALE]…]`, and more of them behind spaces, as a variable has it. */
export function adapterChoice(text: string, all: readonly AdapterChoice[] = []): AdapterChoice[] {
  const choices = [...all]
  for (const each of text.split(BETWEEN)) choices.push(oneChoice(each, choices))
  return choices
}

function oneChoice(text: string, before: readonly AdapterChoice[]): AdapterChoice {
  const { name, base, files } = partsOf(text)
  const isNamed = NAME.test(name) && name.length <= LIMITS.modelNameLengthMax
  if (!isNamed || base === '' || files.length === 0 || files.length > LIMITS.adaptersMax)
    throw new InvalidArgumentError(`NAME=MODEL,FILE[@SCALE], with at most ${LIMITS.adaptersMax} files`)
  if (before.some((other) => other.name === name)) throw new InvalidArgumentError(`${name} is there twice`)
  return { name, base, adapters: files.map(adapter) }
}

function partsOf(text: string): { readonly name: string; readonly base: string; readonly files: readonly string[] } {
  const cut = text.indexOf('=')
  const [base = '', ...files] = text.slice(cut + 1).split(',')
  return { name: text.slice(0, Math.max(0, cut)), base, files }
}

function adapter(text: string): AdapterChoice['adapters'][number] {
  const [, file, scale = '1'] = FILE.exec(text) ?? []
  if (file === undefined || Math.abs(Number(scale)) > SCALE_MAX)
    throw new InvalidArgumentError(`an adapter is FILE or FILE@SCALE, the scale from -${SCALE_MAX} to ${SCALE_MAX}`)
  return { file, scale: Number(scale) }
}

/** The same for a process that starts elsewhere: what names a file of this machine is made absolute by `resolve`. */
export async function absoluteAdapter(
  text: string,
  isPath: (text: string) => Promise<boolean>,
  resolve: (path: string) => string,
): Promise<string> {
  const absolute = async (path: string): Promise<string> => ((await isPath(path)) ? resolve(path) : path)
  const choices: string[] = []
  for (const choice of text.split(BETWEEN)) {
    const { name, base, files } = partsOf(choice)
    const parts = [await absolute(base)]
    for (const each of files) {
      const [, file = each, scale] = FILE.exec(each) ?? []
      parts.push(`${await absolute(file)}${scale === undefined ? '' : `@${scale}`}`)
    }
    choices.push(`${name}=${parts.join(',')}`)
  }
  return choices.join(' ')
}

export const adapterOption = (): Option =>
  new Option('--adapter <spec>', 'serve a model with adapters under a name: NAME=MODEL,FILE[@SCALE] (repeatable)')
    .env('SKEIN_ADAPTER')
    .argParser(adapterChoice)

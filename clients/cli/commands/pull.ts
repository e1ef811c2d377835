/** `skein pull REF`: a model from Hugging Face, a member, a URL, another program or a file into the store of this machine. */
import { resolve } from 'node:path'
import { Argument, InvalidArgumentError, Option, type Command } from 'commander'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { defaultDataDir } from '../../../mesh/runtime/index.ts'
import type { KeepFree, Pulled } from '../../../node/models/store/index.ts'
import { addGlobalOptions, createContext, type GlobalOptions } from '../context.ts'
import { formatBytes } from '../output.ts'
import { keepFreeOption } from '../pull-options.ts'
import { pullModel } from '../pulling.ts'

interface PullOptions extends GlobalOptions {
  readonly name?: string
  readonly sha256?: string
  readonly connections?: number
  readonly keepFree?: KeepFree
  readonly copy?: boolean
  /** `--no-members`. */
  readonly members: boolean
}

export function registerPull(program: Command): void {
  addGlobalOptions(
    program
      .command('pull')
      .description('fetch a model into the store of this machine')
      .addArgument(
        new Argument(
          '<ref>',
          'hf:OWNER/REPOSITORY[:FILE|:QUANTIZATION][@REVISION], name or digest of a model that a member has, ollama:NAME[:TAG], lmstudio:PUBLISHER/NAME[:FILE], https: URL, or path',
        ),
      ),
  )
    .addOption(new Option('--name <name>', "what to call it (default: its file's name)"))
    .addOption(new Option('--sha256 <hex>', 'digest that the file must have').argParser(sha256))
    .addOption(new Option('--connections <n>', 'connections to the source').argParser(connections).default(4))
    .addOption(new Option('--copy', 'copy a file of this machine instead of linking to it'))
    .addOption(keepFreeOption())
    .addOption(new Option('--no-members', 'do not ask other members for it'))
    .action(async (reference: string, options: PullOptions) => {
      const { output, dataDir } = createContext(options)
      const { data: _data, json: _json, members, ...init } = options
      const elsewhere = dataDir === resolve(defaultDataDir()) ? '' : ` --data ${dataDir}`
      const again = `skein pull ${reference}${elsewhere}`
      const mesh = members ? {} : false
      const pulled = await pullModel({ ...init, dataDir, reference, output, command: again, mesh })
      const { path: _path, isPresent: _isPresent, ...model } = pulled.model
      if (output.json) return output.value({ event: 'pull', state: 'done', how: pulled.how, ...model })
      output.line(told(pulled))
      output.note(`serve it with: skein up --model ${model.name}   (a Skein that runs serves it from its next start)`)
    })
}

const HOW: Readonly<Record<Pulled['how'], string>> = {
  pulled: 'pulled and checked',
  present: 'is in the store already',
  linked: 'in the store, one file with the given one',
  shared: 'in the store, sharing its blocks with the given file',
  referenced: 'in the store, as a link to the given file',
  copied: 'in the store, as a copy',
}

const told = ({ model, how }: Pulled): string => {
  const quantization = model.quantization === '' ? '' : `${model.quantization}, `
  return `${model.name}  (${quantization}${formatBytes(model.sizeBytes)}, ${model.digest.slice(0, 19)}…)  ${HOW[how]}`
}

function sha256(text: string): string {
  const hex = text.replace(/^sha256:/, '').toLowerCase()
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new InvalidArgumentError('64 hexadecimal digits')
  return hex
}

function connections(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > LIMITS.pullConnectionsMax)
    throw new InvalidArgumentError(`a whole number from 1 to ${LIMITS.pullConnectionsMax}`)
  return value
}

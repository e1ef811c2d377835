/**
 * Models that other programs of this machine have, to be taken over without a copy.
 *
 *   Ollama      manifests/HOST/NAMESPACE/NAME/TAG   JSON; its layer `…image.model` names a blob by SHA-256
 *               blobs/sha256-<64 digits>            a GGUF file
 *   LM Studio   PUBLISHER/NAME/FILE.gguf
 *
 * What these folders say is checked like a file that comes from elsewhere: it is data of another program.
 */
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { Type } from 'typebox'
import { checker, SkeinError } from '../../../mesh/protocol/index.ts'
import { isSplitFile } from './quantization.ts'
import { printable, type ProgramReference } from './reference.ts'
import type { LocalFile, ModelSource } from './source.ts'

export type Program = ProgramReference['program']

/** Folders of models, by program; the first that has the model counts. */
export type ProgramDirs = Readonly<Partial<Record<Program, readonly string[]>>>

export interface FoundModel {
  readonly program: Program
  /** To be given to a pull. */
  readonly reference: string
  readonly path: string
  readonly sizeBytes: number
  /** 64 hexadecimal digits, where the program has them. */
  readonly sha256?: string
}

const MANIFEST_BYTES_MAX = 1024 * 1024
const FOUND_MAX = 4096
const MANIFEST_DIRS = ['manifests', 'manifests-v2'] as const
/** Hosts that are left out of a name, with the namespace that is. */
const OLLAMA_HOSTS = ['registry.ollama.ai', 'ollama.com'] as const
const OLLAMA_NAMESPACE = 'library'
const OLLAMA_TAG = 'latest'
const MODEL_LAYER = 'application/vnd.ollama.image.model'
/** Beside models: projectors of images. */
const PROJECTOR = /(?:^|[-_.])mmproj/i

const isManifest = checker(
  Type.Object({
    layers: Type.Array(
      Type.Object({ mediaType: Type.String(), digest: Type.String({ pattern: '^sha256[:-][0-9a-f]{64}$' }) }),
      { maxItems: 4096 },
    ),
  }),
)

/** Folders of the programs, from the environment and the home directory. `OLLAMA_MODELS` is Ollama's own variable. */
export function programDirs(environment: Readonly<Record<string, string | undefined>>, home: string): ProgramDirs {
  const own = environment['OLLAMA_MODELS']?.trim()
  const ollama = own
    ? [own]
    : [join(home, '.ollama', 'models'), '/usr/share/ollama/.ollama/models', '/var/lib/ollama/models']
  return { ollama, lmstudio: [join(home, '.lmstudio', 'models'), join(home, '.cache', 'lm-studio', 'models')] }
}

/** What the programs have, by reference. Folders that cannot be read have nothing. */
export async function findModels(dirs: ProgramDirs): Promise<readonly FoundModel[]> {
  const found = new Map<string, FoundModel>()
  const add = (model: FoundModel): void => {
    if (!found.has(model.reference) && found.size < FOUND_MAX) found.set(model.reference, model)
  }
  for (const dir of dirs.ollama ?? []) (await ollamaModels(dir)).forEach(add)
  for (const dir of dirs.lmstudio ?? []) (await studioModels(dir)).forEach(add)
  return [...found.values()].sort((a, b) => (a.reference < b.reference ? -1 : 1))
}

/** A model of another program: a file of this machine. */
export class FoundSource implements ModelSource {
  readonly reference: string
  readonly #dirs: ProgramDirs
  readonly #wanted: ProgramReference

  constructor(dirs: ProgramDirs, wanted: ProgramReference) {
    this.reference = wanted.text
    this.#dirs = dirs
    this.#wanted = wanted
  }

  /** @throws SkeinError MODEL_REFERENCE_INVALID listing what there is, or what fits. */
  async locate(): Promise<LocalFile> {
    const { program, text } = this.#wanted
    const all = await findModels({ [program]: this.#dirs[program] ?? [] })
    const fits = all.filter(({ reference }) => this.#isMeant(reference))
    const [model] = fits
    if (model === undefined || fits.length > 1) {
      const listed = (fits.length > 1 ? fits : all).slice(0, 12).map(({ reference }) => printable(reference))
      const what = fits.length > 1 ? 'several models fit' : `${NAMES[program]} has no such model here`
      const there = listed.length === 0 ? '' : `; there is ${listed.join(', ')}`
      throw new SkeinError('MODEL_REFERENCE_INVALID', `${printable(text)}: ${what}${there}`)
    }
    const { path, sizeBytes, sha256, reference } = model
    const name = reference
      .slice(program.length + 1)
      .split('/')
      .at(-1)!
      .replace(`:${OLLAMA_TAG}`, '')
      .replace(':', '-')
    return {
      kind: 'local',
      source: path,
      file: program === 'ollama' ? `${name}.gguf` : path.split(sep).at(-1)!,
      path,
      sizeBytes,
      ...(sha256 !== undefined && { sha256 }),
    }
  }

  #isMeant(reference: string): boolean {
    const { program, text } = this.#wanted
    if (program === 'ollama') return reference === (/:[^/]*$/.test(this.#wanted.rest) ? text : `${text}:${OLLAMA_TAG}`)
    return reference === text || reference.startsWith(`${text}:`)
  }
}

const NAMES: Readonly<Record<Program, string>> = { ollama: 'Ollama', lmstudio: 'LM Studio' }

async function ollamaModels(dir: string): Promise<FoundModel[]> {
  const found: FoundModel[] = []
  for (const manifests of MANIFEST_DIRS) {
    const root = join(dir, manifests)
    for (const path of await filesBelow(root)) {
      const parts = relative(root, path).split(sep)
      const sha256 = parts.length === 4 ? await modelLayer(path) : undefined
      if (sha256 === undefined) continue
      const model = await fileAt(join(dir, 'blobs', `sha256-${sha256}`))
      if (model !== undefined)
        found.push({ program: 'ollama', reference: `ollama:${ollamaName(parts)}`, sha256, ...model })
    }
  }
  return found
}

function ollamaName([host = '', namespace = '', name = '', tag = '']: readonly string[]): string {
  const isDefault = OLLAMA_HOSTS.some((each) => each === host)
  const before = isDefault ? (namespace === OLLAMA_NAMESPACE ? '' : `${namespace}/`) : `${host}/${namespace}/`
  return `${before}${name}:${tag}`
}

/** Digits of the blob that is the model; `undefined` for what is no manifest, or one of a model in several files. */
async function modelLayer(path: string): Promise<string | undefined> {
  try {
    if ((await stat(path)).size > MANIFEST_BYTES_MAX) return undefined
    const manifest: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (!isManifest(manifest)) return undefined
    const models = manifest.layers.filter(({ mediaType }) => mediaType === MODEL_LAYER)
    return models.length === 1 ? models[0]!.digest.slice('sha256:'.length) : undefined
  } catch {
    return undefined
  }
}

async function studioModels(dir: string): Promise<FoundModel[]> {
  const found: FoundModel[] = []
  for (const path of await filesBelow(dir)) {
    const [publisher, name, file, ...rest] = relative(dir, path).split(sep)
    if (file === undefined || rest.length > 0 || !/\.gguf$/i.test(file)) continue
    if (PROJECTOR.test(file) || isSplitFile(file)) continue
    const model = await fileAt(path)
    if (model !== undefined)
      found.push({ program: 'lmstudio', reference: `lmstudio:${publisher}/${name}:${file}`, ...model })
  }
  return found
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .slice(0, FOUND_MAX)
}

/** The file itself, behind what links to it; `undefined` when there is none. */
async function fileAt(path: string): Promise<{ path: string; sizeBytes: number } | undefined> {
  try {
    const real = await realpath(path)
    const info = await stat(real)
    return info.isFile() && info.size > 0 ? { path: real, sizeBytes: info.size } : undefined
  } catch {
    return undefined
  }
}

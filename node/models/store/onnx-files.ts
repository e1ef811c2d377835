/** Which files of a repository, or of a folder, are an ONNX model: its graph, and what stands beside it. */
import { basename, dirname, posix } from 'node:path'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { ONNX_FILES } from '../../engines/index.ts'
import { onnxRole, type FileRole } from './manifest.ts'
import { quantizationOf, type HubFile } from './quantization.ts'
import { printable, type HubReference } from './reference.ts'

const ONNX = /\.onnx$/i
/** What exporters call the one graph of a folder: the folder has the name, and what belongs to the model beside it. */
const GRAPH = /^model(?:_[a-z0-9_]+)?\.onnx$/i
/** The folder that some exporters put graphs into, below the tokenizer. */
const GRAPHS = 'onnx'
/** The first that is there is taken: as its maker trained it, before what was made smaller. */
const OBVIOUS = ['onnx/model.onnx', 'model.onnx', 'onnx/model_quantized.onnx', 'model_quantized.onnx'] as const
/** Names that exporters give to weights that are not in the graph's own file. */
const WEIGHTS = ['_data', '.data'] as const
const LISTED_MAX = 12

export const isOnnxPath = (path: string): boolean => ONNX.test(path)

/** Whether the folder of `path`, and not the file, has the name of the model. */
export const isGraph = (path: string): boolean => GRAPH.test(basename(path))

/** What a graph at `path` calls its model: its folder's name, or its own. */
export function nameOfGraph(path: string): string {
  if (!isGraph(path)) return basename(path).replace(ONNX, '')
  const folder = dirname(path)
  return basename(basename(folder) === GRAPHS ? dirname(folder) : folder)
}

/** What the graph at `path` of a repository is called: as the repository, with the variant that it is. */
export function nameInHub(repository: string, path: string): string {
  const bare = basename(path).replace(ONNX, '')
  return isGraph(path) ? `${repository}${bare.slice('model'.length).replace('_', '-')}` : bare
}

/**
 * The graph that a reference to a hub names; `undefined` when it names a GGUF file.
 *
 * @throws SkeinError MODEL_REFERENCE_INVALID listing what there is; MODEL_FILE_INVALID for weights in further files.
 */
export function chooseGraph(files: readonly HubFile[], reference: HubReference): HubFile | undefined {
  const { file, quantization, text } = reference
  const graphs = files.filter(({ path }) => ONNX.test(path))
  const ggufs = files.filter(({ path }) => /\.gguf$/i.test(path))
  const wanted = quantization?.toLowerCase()
  if (file !== undefined ? !ONNX.test(file) : graphs.length === 0) return undefined
  if (wanted === undefined && file === undefined && ggufs.length > 0) return undefined
  if (wanted !== undefined && ggufs.some(({ path }) => quantizationOf(path)?.toLowerCase() === wanted)) return undefined
  const isObvious = wanted === undefined || wanted === GRAPHS
  const names = file !== undefined ? [file] : isObvious ? OBVIOUS : variants(wanted)
  const found = names.flatMap((name) => graphs.find(({ path }) => path.toLowerCase() === name.toLowerCase()) ?? [])
  const graph = found[0] ?? (file === undefined && isObvious && graphs.length === 1 ? graphs[0] : undefined)
  if (graph === undefined) throw new SkeinError('MODEL_REFERENCE_INVALID', `${text}: ${whyNone(graphs, reference)}`)
  checkOneFile(text, graph.path, files)
  return graph
}

/** `fp16` is `onnx/model_fp16.onnx`; `quantized` and the like too. */
const variants = (variant: string): readonly string[] => [`onnx/model_${variant}.onnx`, `model_${variant}.onnx`]

function whyNone(graphs: readonly HubFile[], { file, quantization }: HubReference): string {
  const names = graphs.slice(0, LISTED_MAX).map(({ path }) => printable(path))
  const more = graphs.length > LISTED_MAX ? ` and ${graphs.length - LISTED_MAX} more` : ''
  const what =
    file !== undefined
      ? `no file ${printable(file)}`
      : quantization === undefined
        ? 'no ONNX model that is the obvious one to take'
        : `no model in ${printable(quantization)}`
  return `${what}; it has ${names.length === 0 ? 'no .onnx file' : `${names.join(', ')}${more}`}`
}

/** @throws SkeinError MODEL_FILE_INVALID when the weights of `graph` are in another file. */
function checkOneFile(text: string, graph: string, files: readonly HubFile[]): void {
  const weights = files.find(({ path }) => WEIGHTS.some((end) => path === `${graph}${end}`))
  if (weights === undefined) return
  throw new SkeinError(
    'MODEL_FILE_INVALID',
    `${text}: the weights of ${printable(graph)} are in a file of their own, ${printable(weights.path)}, which is not read`,
  )
}

/** The files that may belong to a model: its graph first, then those beside it, or above a folder `onnx`. */
export function filesOfGraph(graph: HubFile, files: readonly HubFile[]): (FileRole & { readonly file: HubFile })[] {
  const folder = posix.dirname(graph.path)
  const places = posix.basename(folder) === GRAPHS ? [folder, posix.dirname(folder)] : [folder]
  const at = (place: string, name: string): HubFile | undefined =>
    files.find(({ path }) => path === (place === '.' ? name : `${place}/${name}`))
  const place = places.find((each) => at(each, ONNX_FILES.tokenizer.name) !== undefined)
  const roles = Object.keys(ONNX_FILES).map(onnxRole).slice(1)
  const beside = place === undefined ? [] : roles.flatMap((role) => ({ role, file: at(place, role.name) }))
  return [
    { ...onnxRole('model'), file: graph },
    ...beside.flatMap(({ role, file }) => (file === undefined || file.sizeBytes === 0 ? [] : [{ ...role, file }])),
  ]
}

/** Models of the mesh as Ollama lists them. What the mesh does not know of a model is left out, or empty. */
import type { EngineKind } from '../../mesh/protocol/index.ts'
import type { ModelView } from '../admission/index.ts'
import { identified } from './named-models.ts'

/** What the files of an engine are called. */
const FORMATS: Readonly<Record<EngineKind, string>> = { llama: 'gguf', upstream: '', onnx: 'onnx', echo: '' }

/** Ollama's words for what a model can do, in the order in which it says them. */
const CAPABILITIES: readonly (readonly [ModelView['features'][number], string])[] = [
  ['completion', 'completion'],
  ['tools', 'tools'],
  ['thinking', 'thinking'],
  ['embed', 'embedding'],
]

/** What stands for the architecture, which the mesh does not know: tools look for the context under its name. */
const ARCHITECTURE = 'skein'

/** Ollama's tools expect a tag behind each name; a digest has its own colon. */
const tagged = (id: string): string => (/:[^/]*$/.test(id) ? id : `${id}:latest`)

const UNITS: readonly (readonly [number, string])[] = [
  [1e12, 'T'],
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'K'],
]

/** Such as `8.0B`, `137M`. */
export function parameterSize(parameters: number): string {
  const [size, unit] = UNITS.find(([each]) => parameters >= each) ?? [1, '']
  const count = parameters / size
  return `${size >= 1e9 ? count.toFixed(1) : Math.round(count)}${unit}`
}

const details = ({ engine, parameters, quantization }: ModelView): object => ({
  parent_model: '',
  format: FORMATS[engine],
  family: '',
  families: [],
  parameter_size: parameters > 0 ? parameterSize(parameters) : '',
  quantization_level: quantization,
})

const capabilitiesOf = ({ features }: ModelView): string[] =>
  CAPABILITIES.flatMap(([feature, name]) => (features.includes(feature) ? [name] : []))

function listed(id: string, model: ModelView): object {
  const name = tagged(id)
  return {
    name,
    model: name,
    size: model.sizeBytes,
    digest: model.digest.slice('sha256:'.length),
    details: details(model),
  }
}

/** Those of which something can be asked here. */
const usable = (models: readonly ModelView[]): [string, ModelView][] =>
  [...identified(models)].filter(([, model]) => capabilitiesOf(model).length > 0)

/** @param modifiedAt of all: the mesh does not know when a model was made. */
export function tagsBody(models: readonly ModelView[], modifiedAt: string): object {
  const all = usable(models).map(([id, model]) => ({
    ...listed(id, model),
    modified_at: modifiedAt,
    capabilities: capabilitiesOf(model),
  }))
  return { models: all }
}

/** Models in memory. When they leave it depends on what is asked of them, and where in memory they are is not known. */
export function runningBody(models: readonly ModelView[]): object {
  const resident = usable(models).filter(([, model]) => model.resident)
  return {
    models: resident.map(([id, model]) => ({ ...listed(id, model), context_length: model.contextTokens })),
  }
}

export const shownBody = (model: ModelView, modifiedAt: string): object => ({
  modelfile: '',
  parameters: '',
  template: '',
  details: details(model),
  model_info: {
    'general.architecture': ARCHITECTURE,
    ...(model.parameters > 0 ? { 'general.parameter_count': model.parameters } : {}),
    [`${ARCHITECTURE}.context_length`]: model.contextTokens,
  },
  capabilities: capabilitiesOf(model),
  modified_at: modifiedAt,
})

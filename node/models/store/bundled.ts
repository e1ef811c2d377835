/** The models that come with Skein, made by `scripts/bundled-model`: small, and there from the first second. */
import { fileURLToPath } from 'node:url'

/** Path of the language model, as a node can serve it. Its card stands beside it. */
export const BUNDLED_CHAT_MODEL = fileURLToPath(new URL('../bundled/chat/skein-tiny.gguf', import.meta.url))

const graph = (name: string): string => fileURLToPath(new URL(`../bundled/${name}/model.onnx`, import.meta.url))

/** Where the library that runs ONNX models comes prebuilt. */
const ONNX_MACHINES = ['linux x64', 'linux arm64', 'darwin arm64', 'win32 x64', 'win32 arm64']

/**
 * Those that make no text: embeddings of notes, anomalies in readings. Each has a process of its own, of some 100 MB. None
 * on machines where they cannot be run.
 */
export const BUNDLED_ONNX_MODELS: readonly string[] = ONNX_MACHINES.includes(`${process.platform} ${process.arch}`)
  ? [graph('embedding'), graph('sensor')]
  : []

/** By the names under which they are served. */
export const BUNDLED_MODELS: ReadonlyMap<string, string> = new Map([
  ['skein-tiny', BUNDLED_CHAT_MODEL],
  ['skein-embedding', graph('embedding')],
  ['skein-sensor', graph('sensor')],
])

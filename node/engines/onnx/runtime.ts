/**
 * The one way to onnxruntime-node. Its npm package downloads further files when it is installed as a part of another one,
 * which must not happen on somebody's machine. So a published Skein carries the files of the library that it needs
 * (`scripts/pack.ts`), and does not depend on it; a clone has the package, whose script `npm ci` does not run.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type * as Runtime from 'onnxruntime-node'
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'

export type OnnxRuntime = typeof Runtime

/** As `scripts/pack.ts` puts it. */
const PACKED = new URL('./runtime/dist/index.js', import.meta.url)
/** Of the runtime, whose numerics `engineBuild` stands for; `package.json` pins the same. */
const RUNTIME_VERSION = '1.30.0'

export const ENGINE_BUILD = `onnxruntime-node ${RUNTIME_VERSION}, cpu`

/** @throws SkeinError MODEL_LOAD_FAILED when it is not there, or not for this machine. */
export async function openRuntime(): Promise<OnnxRuntime> {
  // the library tells its makers what it runs, and keeps what it could not tell in the user's folders, unless it finds this
  process.env['ORT_DISABLE_TELEMETRY'] = '1'
  try {
    if (existsSync(fileURLToPath(PACKED))) {
      const packed = (await import(PACKED.href)) as { readonly default: OnnxRuntime }
      return packed.default
    }
    return await import('onnxruntime-node')
  } catch (cause) {
    const machine = `${process.platform} ${process.arch}`
    throw new SkeinError(
      'MODEL_LOAD_FAILED',
      `ONNX models cannot be run here: onnxruntime-node ${RUNTIME_VERSION} does not load on ${machine} ` +
        `(${asSkeinError(cause).message.split('\n')[0]})`,
      { cause },
    )
  }
}

/** An ONNX model as the evaluations run it: one thread of the CPU provider, and the model's own metadata. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { InferenceSession } from 'onnxruntime-node'

export const pathOf = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export interface OnnxModel {
  readonly session: InferenceSession
  readonly metadata: ReadonlyMap<string, string>
  readonly sizeBytes: number
}

export const share = (flags: readonly boolean[]): number => flags.filter(Boolean).length / flags.length

/** @param path from the root of the repository */
export async function openModel(path: string): Promise<OnnxModel> {
  // as `node/engines/onnx/runtime.ts` has it
  process.env['ORT_DISABLE_TELEMETRY'] = '1'
  const bytes = readFileSync(pathOf(path))
  const session = await InferenceSession.create(bytes, {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
  })
  return { session, metadata: metadataOf(bytes), sizeBytes: bytes.length }
}

const METADATA_PROPS = 14
const LENGTH_DELIMITED = 2

/**
 * `metadata_props` of a model file, which the runtime's Node binding does not tell. A ModelProto is a row of fields; those
 * of number 14 are pairs of key (1) and value (2).
 *
 * @throws TypeError when the bytes are no such row
 */
export function metadataOf(bytes: Uint8Array): Map<string, string> {
  const metadata = new Map<string, string>()
  for (const [number, value] of fieldsOf(bytes)) {
    if (number !== METADATA_PROPS) continue
    const pair = new Map(fieldsOf(value))
    metadata.set(textOf(pair.get(1)), textOf(pair.get(2)))
  }
  return metadata
}

const textOf = (bytes: Uint8Array = new Uint8Array()): string => new TextDecoder().decode(bytes)

/** The length-delimited fields of a protobuf message; numbers are passed over. */
function* fieldsOf(bytes: Uint8Array): Generator<[number: number, value: Uint8Array]> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || factor > 2 ** 63) throw new TypeError('a number of the file is cut off')
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const tag = varint()
    const wire = tag % 8
    if (wire === LENGTH_DELIMITED) {
      const length = varint()
      if (length > bytes.length - at) throw new TypeError('a field of the file is cut off')
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)]
      at += length
    } else if (wire === 0) varint()
    else if (wire === 1) at += 8
    else if (wire === 5) at += 4
    else throw new TypeError(`the file has a field of the unknown kind ${wire}`)
  }
}

/** A few hundred bytes of a valid GGUF file: header, a vocabulary, and one tensor of 32 × 4 numbers. */

export interface GgufBytesInit {
  readonly name?: string
  readonly fileType?: number
  readonly chatTemplate?: string
  readonly splitFiles?: number
  /** `general.sampling.*`, as 32-bit floats. */
  readonly sampling?: Readonly<Record<string, number>>
  /** Its vocabulary. */
  readonly words?: readonly string[]
}

const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}
const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt(value))
  return out
}
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
const textPair = (key: string, value: string): Buffer => Buffer.concat([text(key), u32(8), text(value)])
const numberPair = (key: string, value: number): Buffer => Buffer.concat([text(key), u32(4), u32(value)])
const floatPair = (key: string, value: number): Buffer => {
  const float = Buffer.alloc(4)
  float.writeFloatLE(value)
  return Buffer.concat([text(key), u32(6), float])
}

export function ggufBytes(init: GgufBytesInit): Buffer {
  const { words = ['a', 'bc', ''] } = init
  const pairs = [
    textPair('general.architecture', 'llama'),
    numberPair('llama.context_length', 2048),
    Buffer.concat([text('tokenizer.ggml.tokens'), u32(9), u32(8), u64(words.length), ...words.map(text)]),
    Buffer.concat([text('tokenizer.ggml.scores'), u32(9), u32(6), u64(3), Buffer.alloc(12)]),
    ...(init.name === undefined ? [] : [textPair('general.name', init.name)]),
    ...(init.splitFiles === undefined ? [] : [numberPair('split.count', init.splitFiles)]),
    ...Object.entries(init.sampling ?? {}).map(([key, value]) => floatPair(`general.sampling.${key}`, value)),
    ...(init.fileType === undefined ? [] : [numberPair('general.file_type', init.fileType)]),
    ...(init.chatTemplate === undefined ? [] : [textPair('tokenizer.chat_template', init.chatTemplate)]),
  ]
  const tensor = Buffer.concat([text('token_embd.weight'), u32(2), u64(32), u64(4), u32(0), u64(0)])
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(1), u64(pairs.length), ...pairs, tensor])
  const padding = (32 - (head.length % 32)) % 32
  return Buffer.concat([head, Buffer.alloc(padding + 32 * 4 * 4)])
}

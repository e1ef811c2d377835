/**
 * Beginnings of a prompt as hashes, so that the node that holds most of its state is found without a tokenizer. Borders
 * lie at the same places in every prompt, and each hash covers all before it: two prompts begin alike exactly as far as
 * their hashes agree. The blocks double in size every 32, so that the last whole block is at most 1/32 of what is before
 * it, and 256 hashes reach 510 KiB; what lies behind is not looked at.
 */
import { toolCallText, type Prompt } from '../../mesh/protocol/index.ts'
import type { PromptPrefix } from './types.ts'

const BLOCK_BYTES = 64
const BLOCKS_PER_SIZE = 32
const SIZES = 8
const BYTES_MAX = BLOCK_BYTES * BLOCKS_PER_SIZE * (2 ** SIZES - 1)

export const NO_PREFIX: PromptPrefix = { hashes: [], ends: [] }

/**
 * The prefix of `prompt`. That of a conversation's next turn begins with that of the turn before; when the answer is
 * appended to the turn before as an `assistant` message, the next turn begins with all of it.
 */
export function promptPrefix(prompt: Prompt): PromptPrefix {
  const bytes = new TextEncoder().encode(canonical(prompt))
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(Math.min(bytes.length, BYTES_MAX) / 4))
  const hashes: number[] = []
  const ends: number[] = []
  // Two lanes of multiply and rotate, after cyrb53 (bryc, public domain): 53 bits, and 10 kB take some 10 µs. Not for
  // secrets: who makes two prompts collide gains a place on the wrong node.
  let [a, b] = [0x9e3779b1, 0x85ebca77]
  let word = 0
  for (let block = BLOCK_BYTES, end = block; end <= words.length * 4; end += block) {
    for (; word < end / 4; word++) {
      a = Math.imul(a ^ words[word]!, 0x9e3779b1)
      a = (a << 13) | (a >>> 19)
      b = Math.imul(b ^ words[word]!, 0x5f356495)
      b = (b << 17) | (b >>> 15)
    }
    hashes.push((b >>> 11) * 2 ** 32 + (a >>> 0))
    ends.push(end)
    if (hashes.length % BLOCKS_PER_SIZE === 0) block *= 2
  }
  return { hashes, ends }
}

/** Bytes at the start of both: the last border up to which they agree. */
export function commonBytes(a: PromptPrefix, b: PromptPrefix): number {
  const length = Math.min(a.hashes.length, b.hashes.length)
  let i = 0
  while (i < length && a.hashes[i] === b.hashes[i]) i++
  return i === 0 ? 0 : a.ends[i - 1]!
}

/** Tools, which templates show first, roles and contents, no further than is hashed. A UTF-16 code unit is at least one byte. */
function canonical(prompt: Prompt): string {
  if (prompt.kind === 'text') return prompt.text.slice(0, BYTES_MAX)
  let text = ''
  for (const { name, description = '', parameters } of prompt.tools ?? [])
    text += `\u0004${name}\u0002${description}\u0003${parameters}`
  for (const { role, name, content, toolCalls = [] } of prompt.messages) {
    // calls as the answer had them, so that it is found again in the next turn
    const said = [...(content === '' ? [] : [content]), ...toolCalls.map(toolCallText)].join('\n')
    text += `\u0001${role}\u0002${name ?? ''}\u0003${said}`
    if (text.length >= BYTES_MAX) break
  }
  return text.slice(0, BYTES_MAX)
}

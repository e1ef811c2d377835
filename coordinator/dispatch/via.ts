/** The mark by which a coordinator knows its own requests when they come back to it (`x-skein-via`). */
import { createHash } from 'node:crypto'
import type { PeerId } from '../../mesh/protocol/index.ts'

const LENGTH = 16

/**
 * Other meshes read it: it says nothing of who is behind it, and is another one in each life of the coordinator. It is not drawn
 * but computed, so that a coordinator that lets nothing leave draws nothing for it.
 */
export const viaMark = (self: PeerId, epoch: number): string =>
  createHash('sha256').update(`skein via\n${self}\n${epoch}`).digest('base64url').slice(0, LENGTH)

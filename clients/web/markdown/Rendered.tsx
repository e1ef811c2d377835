/** A text in markdown, also while it comes: blocks that are closed are neither read nor drawn again. Loaded by itself. */
import { Component, createElement, Fragment } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'
import { words } from '../words/index.ts'
import { GrowingBlocks, type Block } from './blocks.ts'
import { CodeBlock } from './CodeBlock.tsx'
import { Formula } from './Formula.tsx'
import { elementsOf, type Parts } from './render.ts'

export interface RenderedProps {
  readonly text: string
  /** More of it may come. */
  readonly isOpen: boolean
}

export function Rendered({ text, isOpen }: RenderedProps) {
  const blocks = usePaced(text, isOpen)
  const { markdown } = words.value.answers
  return (
    <div class="markdown" dir="auto">
      {blocks.map((block, index) => (
        <BlockView key={index} block={block} words={markdown} />
      ))}
    </div>
  )
}

/** What reading costs is a fourth of the time at most: an open end that takes long to read is read less often. */
const PAUSE_PER_COST = 3
const FREE_MS = 4

/** The blocks of the text, or of what it was a moment ago. */
function usePaced(text: string, isOpen: boolean): readonly Block[] {
  const kept = useRef<{ readonly growing: GrowingBlocks; readAgainMs: number }>(undefined)
  const [, setTurn] = useState(0)
  kept.current ??= { growing: new GrowingBlocks(), readAgainMs: 0 }
  const { growing, readAgainMs } = kept.current
  const beganMs = systemClock.monotonicMs()
  const waitMs = isOpen ? readAgainMs - beganMs : 0
  if (waitMs <= 0) {
    growing.read(text, !isOpen)
    const endedMs = systemClock.monotonicMs()
    const costMs = endedMs - beganMs
    kept.current.readAgainMs = costMs > FREE_MS ? endedMs + PAUSE_PER_COST * costMs : 0
  }
  useEffect(
    () => (waitMs > 0 ? systemClock.after(waitMs, () => setTurn((turn) => turn + 1)) : undefined),
    [text, waitMs > 0],
  )
  return growing.blocks
}

interface BlockProps {
  readonly block: Block
  readonly words: Parts['words']
}

class BlockView extends Component<BlockProps> {
  override shouldComponentUpdate(next: BlockProps): boolean {
    return next.block !== this.props.block || next.words !== this.props.words
  }

  override render({ block, words: said }: BlockProps) {
    const parts = { Code: CodeBlock, Formula, words: said }
    return createElement(Fragment, null, ...elementsOf(block.tokens, parts, block.isClosed))
  }
}

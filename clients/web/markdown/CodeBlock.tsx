/** A block of code: its language, a button that copies it, and colours once it is whole. */
import type { ComponentChild } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { CopyButton } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { coloured, colouredBefore, colourOf, languageOf, type Coloured } from './highlight.ts'
import { inTurn } from './turns.ts'

const LABEL_LENGTH_MAX = 40

export interface CodeBlockProps {
  readonly code: string
  /** What stands behind the fence, as it was written. */
  readonly info: string
  /** It does not grow any more. */
  readonly isClosed: boolean
}

export function CodeBlock({ code, info, isClosed }: CodeBlockProps) {
  const pieces = useColours(code, languageOf(info), isClosed)
  const { code: plain, copyCode } = words.value.answers.markdown
  const label = /^[^\s{,]*/.exec(info.trim())![0].slice(0, LABEL_LENGTH_MAX)
  return (
    <div class="markdown-code">
      <div class="markdown-code-head">
        <span class="markdown-language">{label === '' ? plain : label}</span>
        <CopyButton text={code} label={copyCode} />
      </div>
      <pre tabIndex={0} aria-label={label === '' ? plain : label}>
        <code>{pieces === undefined ? code : pieces.map(pieceOf)}</code>
      </pre>
    </div>
  )
}

function pieceOf(piece: Coloured): ComponentChild {
  if (typeof piece === 'string') return piece
  const inner = piece.children.map(pieceOf)
  const colour = colourOf(piece.scope)
  return colour === '' ? inner : <span class={colour}>{inner}</span>
}

function useColours(code: string, language: string | undefined, isClosed: boolean): readonly Coloured[] | undefined {
  const [found, setFound] = useState<{ readonly code: string; readonly pieces: readonly Coloured[] }>()
  const before = language === undefined || !isClosed ? undefined : colouredBefore(code, language)
  const isToDo = language !== undefined && isClosed && before === undefined
  useEffect(() => {
    if (!isToDo) return undefined
    let isWanted = true
    const takeBack = inTurn(() => {
      coloured(code, language).then(
        (pieces) => {
          if (isWanted && pieces) setFound({ code, pieces })
        },
        // the part that colours could not be loaded: plain code is code as well
        () => undefined,
      )
    })
    return () => {
      isWanted = false
      takeBack()
    }
  }, [isToDo, code, language])
  return before ?? (isClosed && found?.code === code ? found.pieces : undefined)
}

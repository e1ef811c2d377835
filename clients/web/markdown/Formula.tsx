/** A formula: as it is written until the part that sets it is there, and where it cannot be set. */
import type { ComponentChild } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { words } from '../words/index.ts'
import { formula, formulaBefore } from './formula.ts'

export interface FormulaProps {
  /** TeX. */
  readonly tex: string
  /** On lines of its own. */
  readonly isApart: boolean
}

export function Formula({ tex, isApart }: FormulaProps) {
  const set = useSetting(tex, isApart)
  if (set === undefined || set === null) return <code class="markdown-inline markdown-tex">{tex}</code>
  if (!isApart) return <span class="markdown-math">{set}</span>
  return (
    <span class="markdown-math-apart" tabIndex={0} role="group" aria-label={words.value.answers.markdown.formula}>
      {set}
    </span>
  )
}

function useSetting(tex: string, isApart: boolean): ComponentChild | undefined {
  const [found, setFound] = useState<{ readonly tex: string; readonly set: ComponentChild }>()
  const before = formulaBefore(tex, isApart)
  useEffect(() => {
    if (before !== undefined) return undefined
    let isWanted = true
    formula(tex, isApart).then(
      (set) => {
        if (isWanted) setFound({ tex, set })
      },
      // the part that sets formulas could not be loaded: TeX can be read as well
      () => undefined,
    )
    return () => {
      isWanted = false
    }
  }, [before === undefined, tex, isApart])
  return before ?? (found?.tex === tex ? found.set : undefined)
}

/** A text in markdown: as it is written until the part that reads it is there, which it is after the first time. */
import { Signal, signal, type ReadonlySignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import type { RenderedProps } from './Rendered.tsx'
import './markdown.css'

interface Engine {
  readonly Rendered: ComponentType<RenderedProps>
}

export interface MarkdownProps {
  readonly source: string | ReadonlySignal<string>
  /** More of it may come. */
  readonly isOpen?: boolean
}

const engine = signal<Engine | undefined>(undefined)
let loading: Promise<void> | undefined

/** Loads what reads markdown. Fulfilled also where it cannot be loaded: the text can be read as it is. */
export function loadMarkdown(): Promise<void> {
  loading ??= import('./Rendered.tsx').then(
    (loaded) => {
      engine.value = loaded
    },
    () => {
      // it is tried again by the next text
      loading = undefined
    },
  )
  return loading
}

export function Markdown({ source, isOpen = false }: MarkdownProps) {
  const text = source instanceof Signal ? source.value : source
  const isLoaded = engine.value !== undefined
  useEffect(() => {
    if (!isLoaded) void loadMarkdown()
  }, [isLoaded])
  if (engine.value === undefined)
    return (
      <div class="markdown markdown-plain" dir="auto">
        {text}
      </div>
    )
  const { Rendered } = engine.value
  return <Rendered text={text} isOpen={isOpen} />
}

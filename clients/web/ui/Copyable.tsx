import { useEffect, useRef, useState } from 'preact/hooks'
import { copyText, systemClock } from '../platform/index.ts'
import { IconButton } from './Button.tsx'
import { uiLabels } from './labels.ts'

const SHOWN_MS = 1600

export interface CopyButtonProps {
  /** Read when it is pressed. */
  readonly text: string | (() => string)
  readonly label?: string
  readonly size?: 's' | 'm'
}

/** Copies, and says so. */
export function CopyButton({ text, label, size = 's' }: CopyButtonProps) {
  const [isCopied, setCopied] = useState(false)
  const cancel = useRef(() => {})
  useEffect(() => () => cancel.current(), [])
  const copy = async (): Promise<void> => {
    if (!(await copyText(typeof text === 'string' ? text : text()))) return
    setCopied(true)
    cancel.current()
    cancel.current = systemClock.after(SHOWN_MS, () => setCopied(false))
  }
  const { copied, copy: copyLabel } = uiLabels.value
  return (
    <>
      <IconButton
        icon={isCopied ? 'check' : 'copy'}
        label={isCopied ? copied : (label ?? copyLabel)}
        size={size}
        onClick={() => void copy()}
      />
      <span class="ui-offscreen" role="status">
        {isCopied ? copied : ''}
      </span>
    </>
  )
}

export interface CopyableProps {
  readonly text: string
  /** Shows that it is for a terminal. */
  readonly isCommand?: boolean
  readonly label?: string
}

/** A text to take away, such as the command that does the same as a button. */
export function Copyable({ text, isCommand = false, label }: CopyableProps) {
  return (
    <div class={isCommand ? 'ui-copyable ui-copyable-command' : 'ui-copyable'}>
      <code tabIndex={0} role="textbox" aria-readonly="true" aria-label={label ?? text}>
        {text}
      </code>
      <CopyButton text={text} {...(label !== undefined && { label })} />
    </div>
  )
}

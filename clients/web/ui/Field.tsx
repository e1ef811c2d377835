import type { ComponentChildren, InputHTMLAttributes, Ref, SelectHTMLAttributes, TextareaHTMLAttributes } from 'preact'
import { useId } from 'preact/hooks'
import { Icon } from './Icon.tsx'
import { uiLabels } from './labels.ts'

interface Around {
  readonly label: string
  /** Below the label: what is meant. */
  readonly hint?: ComponentChildren
  /** What is wrong with what was typed. */
  readonly error?: string | undefined
  readonly isOptional?: boolean
  /** The label for readers of screens alone. */
  readonly isLabelHidden?: boolean
}

type Own = 'label' | 'onInput' | 'onChange' | 'value' | 'ref' | 'id' | 'children' | 'role' | 'size' | 'multiple'

export interface FieldProps extends Around, Omit<InputHTMLAttributes<HTMLInputElement>, Own> {
  readonly value: string
  readonly onInput: (value: string) => void
  readonly inputRef?: Ref<HTMLInputElement>
  /** Behind the input, such as a unit or a button. */
  readonly after?: ComponentChildren
}

export interface TextAreaProps extends Around, Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, Own> {
  readonly value: string
  readonly onInput: (value: string) => void
  readonly inputRef?: Ref<HTMLTextAreaElement>
}

export interface SelectProps<T extends string> extends Around, Omit<SelectHTMLAttributes<HTMLSelectElement>, Own> {
  readonly value: T
  readonly onChange: (value: T) => void
  readonly options: readonly { readonly value: T; readonly label: string; readonly isDisabled?: boolean }[]
}

/** What every input has around it, and the attributes that tie them together. */
function useAround({ label, hint, error, isOptional = false, isLabelHidden = false }: Around) {
  const id = useId()
  const described = [hint !== undefined && `${id}-hint`, error !== undefined && `${id}-error`].filter(Boolean).join(' ')
  return {
    tied: {
      id,
      'aria-describedby': described === '' ? undefined : described,
      'aria-invalid': error === undefined ? undefined : ('true' as const),
    },
    wrap: (control: ComponentChildren) => (
      <div class="ui-field">
        <label class={isLabelHidden ? 'ui-offscreen' : 'ui-field-label'} for={id}>
          {label}
          {isOptional && <span class="ui-field-optional"> ({uiLabels.value.optional})</span>}
        </label>
        {hint !== undefined && (
          <div id={`${id}-hint`} class="ui-field-hint">
            {hint}
          </div>
        )}
        {control}
        {error !== undefined && (
          <div id={`${id}-error`} class="ui-field-error" role="alert">
            <Icon name="alert" size={15} />
            {error}
          </div>
        )}
      </div>
    ),
  }
}

/** One line of text. */
export function Field(props: FieldProps) {
  const { label, hint, error, isOptional, isLabelHidden, value, onInput, inputRef, after, ...rest } = props
  const { tied, wrap } = useAround(aroundOf(props))
  return wrap(
    <div class="ui-input-row">
      <input
        autoComplete="off"
        // leaving members out of a union of kinds of inputs has lost which kind it is
        {...(rest as InputHTMLAttributes<HTMLInputElement>)}
        {...tied}
        ref={inputRef ?? null}
        class="ui-input"
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {after}
    </div>,
  )
}

/** Several lines of text. */
export function TextArea(props: TextAreaProps) {
  const { label, hint, error, isOptional, isLabelHidden, value, onInput, inputRef, ...rest } = props
  const { tied, wrap } = useAround(aroundOf(props))
  return wrap(
    <textarea
      rows={4}
      {...rest}
      {...tied}
      ref={inputRef ?? null}
      class="ui-input ui-textarea"
      value={value}
      onInput={(event) => onInput(event.currentTarget.value)}
    />,
  )
}

/** One of a few: the browser's own list, which every phone and reader of screens knows. */
export function Select<T extends string>(props: SelectProps<T>) {
  const { label, hint, error, isOptional, isLabelHidden, value, onChange, options, ...rest } = props
  const { tied, wrap } = useAround(aroundOf(props))
  return wrap(
    <div class="ui-select">
      <select
        {...rest}
        {...tied}
        class="ui-input"
        value={value}
        onChange={(event) => onChange(event.currentTarget.value as T)}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={option.isDisabled === true}>
            {option.label}
          </option>
        ))}
      </select>
      <Icon name="chevronDown" size={15} />
    </div>,
  )
}

const aroundOf = ({ label, hint, error, isOptional, isLabelHidden }: Around): Around => ({
  label,
  ...(hint !== undefined && { hint }),
  error,
  ...(isOptional !== undefined && { isOptional }),
  ...(isLabelHidden !== undefined && { isLabelHidden }),
})

export interface SwitchProps {
  readonly label: ComponentChildren
  readonly hint?: ComponentChildren
  readonly isOn: boolean
  readonly onChange: (isOn: boolean) => void
  readonly isDisabled?: boolean
  /** The switch before its label; behind it when absent. */
  readonly isFirst?: boolean
}

/** On or off, at once. */
export function Switch({ label, hint, isOn, onChange, isDisabled = false, isFirst = false }: SwitchProps) {
  const id = useId()
  return (
    <div class={isFirst ? 'ui-switch-row ui-switch-first' : 'ui-switch-row'}>
      <div class="ui-switch-text">
        <label for={id}>{label}</label>
        {hint !== undefined && (
          <div id={`${id}-hint`} class="ui-field-hint">
            {hint}
          </div>
        )}
      </div>
      <button
        id={id}
        type="button"
        role="switch"
        class="ui-switch"
        aria-checked={isOn}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        disabled={isDisabled}
        onClick={() => onChange(!isOn)}
      />
    </div>
  )
}

export interface CheckboxProps {
  readonly label: ComponentChildren
  readonly isChecked: boolean
  readonly onChange: (isChecked: boolean) => void
  readonly isDisabled?: boolean
}

export function Checkbox({ label, isChecked, onChange, isDisabled = false }: CheckboxProps) {
  return (
    <label class="ui-checkbox">
      <input
        type="checkbox"
        checked={isChecked}
        disabled={isDisabled}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <span>{label}</span>
    </label>
  )
}

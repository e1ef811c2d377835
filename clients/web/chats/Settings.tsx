import { useEffect, useRef, useState } from 'preact/hooks'
import type { ChatSettings } from '../store/index.ts'
import { Button, Dialog, Field, Select, Switch, TextArea } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { BOUNDS, parseField, type SamplingField } from './sampling.ts'
import './settings.css'

export interface SettingsProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly settings: ChatSettings
  readonly onClose: () => void
}

const SYSTEM_MAX = 32_000
const FIELDS: readonly SamplingField[] = ['temperature', 'topP', 'maxTokens', 'seed']

/** What the answers of a chat are asked with. What is changed holds for those that follow. */
export function SettingsDialog({ chats, conversation, settings, onClose }: SettingsProps) {
  const { chats: say } = words.value
  const set = (change: Partial<ChatSettings>): void => void chats.do(() => conversation.set(change))
  const setSampling = (field: SamplingField, value: number | undefined): void => {
    const { [field]: _, ...others } = settings.sampling
    set({ sampling: value === undefined ? others : { ...others, [field]: value } })
  }
  return (
    <Dialog title={say.settings} isDrawer onClose={onClose}>
      <div class="chats-settings">
        <SystemPrompt key={settings.system} system={settings.system} onChange={(system) => set({ system })} />
        <Switch
          label={say.localOnly}
          hint={say.localOnlyHint}
          isOn={settings.localOnly}
          onChange={(localOnly) => set({ localOnly })}
        />
        <Select
          label={say.devices}
          hint={say.devicesHint}
          value={settings.devices}
          options={[
            { value: 'none', label: say.devicesNone },
            { value: 'read', label: say.devicesRead },
            { value: 'act', label: say.devicesAct },
          ]}
          onChange={(devices) => set({ devices })}
        />
        {FIELDS.map((field) => (
          <NumberField
            key={`${field} ${settings.sampling[field]}`}
            field={field}
            kept={settings.sampling[field]}
            onChange={(value) => setSampling(field, value)}
          />
        ))}
        <div>
          <Button onClick={() => set({ sampling: {}, system: '' })}>{say.reset}</Button>
        </div>
      </div>
    </Dialog>
  )
}

interface NumberFieldProps {
  readonly field: SamplingField
  readonly kept: number | undefined
  readonly onChange: (value: number | undefined) => void
}

/** A number, or nothing for the model's own. What does not fit is kept on the screen, and not in the chat. */
function NumberField({ field, kept, onChange }: NumberFieldProps) {
  const [typed, setTyped] = useState(kept === undefined ? '' : String(kept))
  const parsed = parseField(field, typed)
  const commit = useCommit(() => {
    if ('value' in parsed && parsed.value !== kept) onChange(parsed.value)
  })
  const { label, hint } = textsOf(field)
  return (
    <Field
      label={label}
      hint={hint}
      inputMode={BOUNDS[field].isWhole ? 'numeric' : 'decimal'}
      value={typed}
      error={'problem' in parsed ? errorOf(field, parsed.problem) : undefined}
      onInput={setTyped}
      onBlur={commit}
    />
  )
}

interface SystemPromptProps {
  readonly system: string
  readonly onChange: (system: string) => void
}

function SystemPrompt({ system, onChange }: SystemPromptProps) {
  const [typed, setTyped] = useState(system)
  const { chats: say } = words.value
  const commit = useCommit(() => {
    if (typed !== system) onChange(typed)
  })
  return (
    <TextArea
      label={say.systemPrompt}
      hint={say.systemHint}
      value={typed}
      maxLength={SYSTEM_MAX}
      rows={5}
      onInput={setTyped}
      onBlur={commit}
    />
  )
}

/** Keeps what was typed when its field is left, also by closing the dialog: not at every key, since each is told to all devices. */
function useCommit(commit: () => void): () => void {
  const latest = useRef(commit)
  latest.current = commit
  useEffect(() => () => latest.current(), [])
  return commit
}

function textsOf(field: SamplingField): { readonly label: string; readonly hint: string } {
  const { chats: say } = words.value
  return {
    temperature: { label: say.temperature, hint: say.temperatureHint },
    topP: { label: say.topP, hint: say.topPHint },
    maxTokens: { label: say.maxTokens, hint: say.maxTokensHint },
    seed: { label: say.seedLabel, hint: say.seedHint },
  }[field]
}

function errorOf(field: SamplingField, problem: 'no-number' | 'out-of-bounds'): string {
  const { chats: say } = words.value
  const { min, max } = BOUNDS[field]
  return problem === 'no-number' ? say.noNumber : say.outOfBounds(format.number(min), format.number(max))
}

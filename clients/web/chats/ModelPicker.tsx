import { useEffect, useRef } from 'preact/hooks'
import type { ChatSettings } from '../store/index.ts'
import { Icon, Menu, type MenuItem } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { isAtHome, type ModelChoice } from './models.ts'

export interface ModelPickerProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly settings: ChatSettings
}

/** Which model answers, and where each one lies: in whose memory, on whose disk, in the cloud. */
export function ModelPicker({ chats, conversation, settings }: ModelPickerProps) {
  const { chats: say } = words.value
  const chosen = chats.modelOf(settings)
  return (
    <Menu
      label={say.chooseModel}
      items={itemsOf(chats, conversation, settings, chosen)}
      trigger={({ onClick, ...trigger }) => (
        <PickerButton
          {...trigger}
          wanted={chats.modelWanted.value}
          name={chosen ?? say.noModel}
          onClick={() => {
            chats.models.refresh()
            onClick()
          }}
        />
      )}
    />
  )
}

interface PickerButtonProps {
  readonly name: string
  readonly wanted: number
  readonly onClick: () => void
  readonly onKeyDown: (event: KeyboardEvent) => void
  readonly buttonRef: { current: HTMLButtonElement | null }
  readonly 'aria-haspopup': 'menu'
  readonly 'aria-expanded': boolean
  readonly 'aria-controls': string | undefined
}

function PickerButton({ name, wanted, buttonRef, ...rest }: PickerButtonProps) {
  const { chats: say } = words.value
  const seen = useRef(wanted)
  useEffect(() => {
    if (wanted !== seen.current) buttonRef.current?.focus()
    seen.current = wanted
  }, [wanted])
  return (
    <button type="button" class="chats-model" ref={buttonRef} {...rest}>
      <Icon name="cube" size={15} />
      <span class="ui-offscreen">{say.model}: </span>
      <span class="chats-model-name">{name}</span>
      <Icon name="chevronDown" size={15} />
    </button>
  )
}

function itemsOf(
  chats: Chats,
  conversation: Conversation,
  { localOnly }: ChatSettings,
  chosen: string | undefined,
): MenuItem[] {
  const { chats: say } = words.value
  const choices = chats.models.choices.value
  const onSelect = (id: string) => (): void => void chats.do(() => chats.chooseModel(conversation, id))
  if (!choices) return [{ heading: say.modelsUnknown }]
  if (choices.length === 0) return [{ heading: say.noModels }]
  const isGone = chosen !== undefined && !choices.some(({ id }) => id === chosen)
  return [
    ...choices.map((choice) => {
      const isBlocked = localOnly && !isAtHome(choice)
      return {
        label: choice.id,
        detail: isBlocked ? `${placesOf(choice)} · ${say.cloudBlocked}` : `${placesOf(choice)} · ${sizeOf(choice)}`,
        isChecked: choice.id === chosen,
        isDisabled: isBlocked,
        onSelect: onSelect(choice.id),
      }
    }),
    ...(isGone ? [{ label: chosen, detail: say.notInMesh, isChecked: true, onSelect: onSelect(chosen) }] : []),
  ]
}

/** Where a model lies, the nearest first. */
function placesOf({ inMemory, loading, onDisk, cloud }: ModelChoice): string {
  const { chats: say } = words.value
  if (inMemory.length > 0) return say.inMemory(format.list(inMemory))
  if (loading.length > 0) return say.loadingOn(format.list(loading))
  if (onDisk.length > 0) return say.onDisk(format.list(onDisk))
  return cloud.length > 0 ? say.inCloud(format.list(cloud)) : say.notInMesh
}

function sizeOf({ sizeBytes, contextTokens, parameters, canThink, canCallTools }: ModelChoice): string {
  const { chats: say } = words.value
  const facts = [
    parameters > 0 && say.parameters(format.compact(parameters)),
    sizeBytes > 0 && format.bytes(sizeBytes),
    contextTokens > 0 && say.context(format.compact(contextTokens)),
    canThink && say.canThink,
    canCallTools && say.canCallTools,
  ]
  return facts.filter((fact): fact is string => fact !== false).join(' · ')
}

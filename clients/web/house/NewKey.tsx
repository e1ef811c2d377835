/** The form of a new key. */
import { useState } from 'preact/hooks'
import { Button, Checkbox, Copyable, Dialog, Disclosure, Field, Notice, Select, Switch } from '../ui/index.ts'
import { words } from '../words/index.ts'
import {
  bodyOf,
  commandOf,
  countOf,
  DEVICE_LEVELS,
  FIRST_DRAFT,
  isComplete,
  issuedOf,
  PRIORITIES,
  SCOPES,
  VALIDITIES,
  type KeyDraft,
  type Validity,
} from './keys-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway, KeyHolder } from './ports.ts'
import { useAction } from './resource.ts'

const PATH = '/mesh/v1/keys'

interface NewKeyProps {
  readonly gateway: HouseGateway
  readonly holder: KeyHolder | undefined
  /** Whether there never was one. */
  readonly isFirst: boolean
  readonly onMade: (answer: unknown) => void
  readonly onClose: () => void
}

export function NewKey({ gateway, holder, isFirst, onMade, onClose }: NewKeyProps) {
  const text = words.value.access.keys
  const [draft, setDraft] = useState(FIRST_DRAFT)
  const change = (part: Partial<KeyDraft>): void => setDraft({ ...draft, ...part })
  // without one of its own, this page could do nothing any more
  const needsOwn = isFirst && holder !== undefined && !holder.hasKey
  const { run, isBusy, error } = useAction(async () => {
    if (needsOwn) {
      const own = { name: text.pageKey, routes: ['inference', 'mesh', 'admin'], devices: 'act' }
      const issued = issuedOf(await gateway.send('POST', PATH, own))
      if (issued) await holder.useKey(issued.secret)
    }
    onMade(await gateway.send('POST', PATH, bodyOf(draft)))
  })
  return (
    <Dialog
      title={text.make}
      onClose={onClose}
      actions={
        <Button kind="primary" isBusy={isBusy} disabled={!isComplete(draft)} onClick={() => run()}>
          {text.make}
        </Button>
      }
    >
      <form
        class="house-form"
        onSubmit={(event) => {
          event.preventDefault()
          if (isComplete(draft)) run()
        }}
      >
        {needsOwn && <Notice tone="info">{text.firstNote}</Notice>}
        <Field
          label={text.name}
          hint={text.nameHint}
          value={draft.name}
          onInput={(name) => change({ name })}
          maxLength={64}
          autofocus
          required
        />
        <Scopes draft={draft} onChange={change} />
        <Select
          label={text.devices}
          value={draft.devices}
          onChange={(devices) => change({ devices })}
          options={DEVICE_LEVELS.map((value) => ({ value, label: text.deviceLevels[value] }))}
        />
        <Switch
          label={text.localOnly}
          hint={text.localOnlyHint}
          isOn={draft.isLocalOnly}
          onChange={(isLocalOnly) => change({ isLocalOnly })}
        />
        <Disclosure summary={text.limits}>
          <Limits draft={draft} onChange={change} />
        </Disclosure>
        {error && <Problem error={error} />}
        <Copyable isCommand label={words.value.access.command} text={commandOf(draft)} />
        {/* Enter in a field */}
        <button type="submit" hidden />
      </form>
    </Dialog>
  )
}

interface PartProps {
  readonly draft: KeyDraft
  readonly onChange: (part: Partial<KeyDraft>) => void
}

function Scopes({ draft, onChange }: PartProps) {
  const text = words.value.access.keys
  return (
    <fieldset class="house-fieldset">
      <legend>{text.may}</legend>
      {SCOPES.map((scope) => (
        <div key={scope}>
          <Checkbox
            label={text.scopes[scope]}
            isChecked={draft.scopes.includes(scope)}
            onChange={(is) =>
              onChange({ scopes: SCOPES.filter((each) => (each === scope ? is : draft.scopes.includes(each))) })
            }
          />
          <p class="house-quiet house-indent">{text.scopeHints[scope]}</p>
        </div>
      ))}
      {draft.scopes.length === 0 && (
        <p class="house-problem" role="alert">
          {text.needsScope}
        </p>
      )}
    </fieldset>
  )
}

function Limits({ draft, onChange }: PartProps) {
  const text = words.value.access.keys
  const count = (member: 'requestsPerMinute' | 'tokensPerMinute' | 'tokensPerDay', label: string) => (
    <Field
      label={label}
      inputMode="numeric"
      maxLength={12}
      placeholder={text.noLimit}
      value={draft[member]}
      onInput={(value) => onChange({ [member]: value })}
      error={countOf(draft[member]) === undefined ? text.badCount : undefined}
    />
  )
  return (
    <div class="house-form">
      <Field
        label={text.models}
        hint={text.modelsHint}
        placeholder={text.allModels}
        maxLength={1024}
        value={draft.models}
        onInput={(models) => onChange({ models })}
      />
      <Select
        label={text.priority}
        value={draft.priority}
        onChange={(priority) => onChange({ priority })}
        options={PRIORITIES.map((value) => ({ value, label: text.priorities[value] }))}
      />
      <div class="house-pair">
        {count('requestsPerMinute', text.perMinute)}
        {count('tokensPerMinute', text.tokensPerMinute)}
        {count('tokensPerDay', text.tokensPerDay)}
        <Select
          label={text.valid}
          value={draft.validity}
          onChange={(validity) => onChange({ validity })}
          options={(Object.keys(VALIDITIES) as Validity[]).map((value) => ({ value, label: text.validities[value] }))}
        />
      </div>
      <Switch label={text.noCache} isOn={draft.isUncached} onChange={(isUncached) => onChange({ isUncached })} />
    </div>
  )
}

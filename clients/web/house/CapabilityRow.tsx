/** One capability: its value with its age, and what a hand may do with it. */
import { useEffect, useState } from 'preact/hooks'
import { Badge, Button, Copyable, Field, IconButton, Select } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { makeCall, tellEnd, type Asked } from './calls.ts'
import {
  argumentOf,
  controlOf,
  stepOf,
  typedValue,
  unitText,
  type CallShown,
  type Capability,
  type DeviceShown,
  type DeviceValue,
  type Typed,
} from './devices-model.ts'
import { agoText, numberText, valueText } from './format.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useAction } from './resource.ts'
import { WaitingCall } from './WaitingCalls.tsx'

interface CapabilityRowProps {
  readonly gateway: HouseGateway
  readonly device: DeviceShown
  readonly capability: Capability
  readonly nowMs: number
  /** Calls of it that wait for a person. */
  readonly waiting: readonly CallShown[]
  readonly onAnswered: () => void
}

export function CapabilityRow(props: CapabilityRowProps) {
  const { gateway, device, capability, nowMs, waiting, onAnswered } = props
  const text = words.value.devices
  const { name, dir, unit } = capability
  const last = device.values[name]
  const wish = device.desired[name]
  const isSet = dir === 'actuator' || dir === 'command'
  const { run, isBusy, error } = useAction(async (asked: Omit<Asked, 'device' | 'capability'>) =>
    tellEnd(await makeCall(gateway, { device: device.id, capability: name, ...asked }), unit),
  )
  const mayAct = device.policy.act !== 'no'
  const [hasCommand, setCommand] = useState(false)
  return (
    <div class="house-capability">
      <div class="house-capability-head">
        <div class="house-capability-name">
          <span>{name}</span>
          {dir === 'model' && <Badge title={text.modelOnBoard}>model</Badge>}
          {wish && last?.value !== wish.value && <Badge tone="info">{text.wanted(valueText(wish.value, unit))}</Badge>}
        </div>
        {dir !== 'command' && (
          <div class="house-capability-value">
            <strong>{last ? valueText(last.value, unit) : '–'}</strong>
            <span class="house-quiet">{last ? agoText(last.atMs, nowMs) : text.noValue}</span>
          </div>
        )}
        {dir !== 'command' && (
          <IconButton
            icon="refresh"
            size="s"
            label={device.policy.read ? `${text.read}: ${name}` : text.mayNotRead}
            isBusy={isBusy}
            disabled={!device.policy.read}
            onClick={() => run({ op: 'read' })}
          />
        )}
        <IconButton
          icon="terminal"
          size="s"
          label={`${text.command}: ${name}`}
          isPressed={hasCommand}
          onClick={() => setCommand(!hasCommand)}
        />
      </div>
      {isSet && !mayAct && <p class="house-quiet">{text.mayNot}</p>}
      {isSet && mayAct && (
        <Control
          {...{ capability, isBusy, now: last?.value }}
          onSet={(value) => run(value === undefined ? { op: opOf(dir) } : { op: opOf(dir), value })}
        />
      )}
      {error && <Problem error={error} />}
      {waiting.map((call) => (
        <div key={call.call} class="house-asked">
          <WaitingCall {...{ gateway, call, onAnswered }} />
        </div>
      ))}
      {hasCommand && <Copyable isCommand text={commandOf(device.id, capability, last?.value)} />}
    </div>
  )
}

const opOf = (dir: Capability['dir']): 'write' | 'run' => (dir === 'command' ? 'run' : 'write')

/** The command that does the same, with a value that fits. */
function commandOf(id: string, capability: Capability, now: DeviceValue | undefined): string {
  const { name, dir, type, options, min } = capability
  if (dir === 'sensor' || dir === 'model') return `skein devices read ${id} ${name}`
  const verb = dir === 'command' ? 'run' : 'set'
  if (type === 'none') return `skein devices ${verb} ${id} ${name}`
  const usual = { boolean: true, choice: options[0] ?? '', text: 'hello', number: min ?? 0, integer: min ?? 0 }[type]
  const value = type === 'boolean' && typeof now === 'boolean' ? !now : (now ?? usual)
  return `skein devices ${verb} ${id} ${name} ${argumentOf(value)}`
}

interface ControlProps {
  readonly capability: Capability
  readonly isBusy: boolean
  readonly now: DeviceValue | undefined
  readonly onSet: (value?: DeviceValue) => void
}

function Control(props: ControlProps) {
  const text = words.value.devices
  const { capability, isBusy, now, onSet } = props
  const { name, dir } = capability
  switch (controlOf(capability)) {
    case 'none':
      return (
        <Button size="s" icon="play" isBusy={isBusy} onClick={() => onSet()}>
          {text.run}
        </Button>
      )
    case 'switch':
      return (
        <div class="house-segments" role="group" aria-label={name}>
          {[true, false].map((value) => (
            <button
              key={String(value)}
              type="button"
              class="house-segment"
              aria-pressed={dir === 'actuator' && now === value}
              disabled={isBusy}
              onClick={() => onSet(value)}
            >
              {value ? text.on : text.off}
            </button>
          ))}
        </div>
      )
    case 'choice':
      return <ChoiceControl {...props} />
    case 'slider':
      return <SliderControl {...props} />
    default:
      return <TypedControl {...props} />
  }
}

/** The value that is being set; that of the device when it changes. */
function useDraft(now: DeviceValue | undefined, usual: string) {
  const [draft, setDraft] = useState(now === undefined ? usual : String(now))
  useEffect(() => {
    if (now !== undefined) setDraft(String(now))
  }, [now])
  return [draft, setDraft] as const
}

function ChoiceControl({ capability: { name, options }, isBusy, now, onSet }: ControlProps) {
  const text = words.value.devices
  const [draft, setDraft] = useDraft(now, options[0]!)
  return (
    <div class="house-control">
      <Select
        label={text.valueOf(name)}
        isLabelHidden
        value={draft}
        onChange={setDraft}
        options={options.map((value) => ({ value, label: value }))}
      />
      <Button size="s" isBusy={isBusy} onClick={() => onSet(draft)}>
        {text.set}
      </Button>
    </div>
  )
}

function SliderControl({ capability, isBusy, now, onSet }: ControlProps) {
  const text = words.value.devices
  const { name, unit, min, max } = capability
  const [draft, setDraft] = useDraft(now, String(min))
  return (
    <div class="house-control">
      <input
        type="range"
        class="house-slider"
        aria-label={text.valueOf(name)}
        aria-valuetext={valueText(Number(draft), unit)}
        min={min}
        max={max}
        step={stepOf(capability)}
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
      />
      <output class="house-slider-value">{valueText(Number(draft), unit)}</output>
      <Button size="s" isBusy={isBusy} onClick={() => onSet(Number(draft))}>
        {text.set}
      </Button>
    </div>
  )
}

function TypedControl({ capability, isBusy, now, onSet }: ControlProps) {
  const text = words.value.devices
  const { name, dir, unit } = capability
  const [draft, setDraft] = useDraft(now, '')
  const [problem, setProblem] = useState<Extract<Typed, { problem: unknown }>['problem']>()
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    const typed = typedValue(capability, draft)
    setProblem('problem' in typed ? typed.problem : undefined)
    if ('value' in typed) onSet(typed.value)
  }
  return (
    <form class="house-control" onSubmit={submit} noValidate>
      <Field
        label={text.valueOf(name)}
        isLabelHidden
        inputMode={capability.type === 'text' ? 'text' : 'decimal'}
        maxLength={64}
        placeholder={rangeText(capability)}
        value={draft}
        onInput={setDraft}
        error={problem && problemText(capability, problem)}
        after={unit !== undefined && <span class="house-quiet">{unitText(unit)}</span>}
      />
      <Button size="s" type="submit" isBusy={isBusy}>
        {dir === 'command' ? text.run : text.set}
      </Button>
    </form>
  )
}

function rangeText({ min, max }: Capability): string {
  const { between, atLeast, atMost } = words.value.devices
  if (min !== undefined && max !== undefined) return between(numberText(min), numberText(max))
  return min !== undefined ? atLeast(numberText(min)) : max !== undefined ? atMost(numberText(max)) : ''
}

function problemText(capability: Capability, problem: 'number' | 'whole' | 'range' | 'empty'): string {
  const { notANumber, notWhole, empty } = words.value.devices
  if (problem === 'range') return rangeText(capability)
  return { number: notANumber, whole: notWhole, empty }[problem]
}

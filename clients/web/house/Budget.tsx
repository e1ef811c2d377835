/** The budget: what may be spent, what was, and setting it. For admins. */
import { useState } from 'preact/hooks'
import {
  Button,
  Card,
  Copyable,
  Dialog,
  Disclosure,
  Field,
  Meter,
  Notice,
  Section,
  Select,
  showToast,
} from '../ui/index.ts'
import { currency, format, words } from '../words/index.ts'
import { AT_LIMITS, budgetOf, microsOf, type BudgetShown, type PeriodShown } from './budget-model.ts'
import { argumentOf } from './devices-model.ts'
import { amountText } from './format.ts'
import { Loaded, Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { useAction, useNow, useResource } from './resource.ts'
import { useEvents } from './useDevices.ts'

const PATH = '/mesh/v1/budget'

export function Budget({ gateway }: { readonly gateway: HouseGateway }) {
  const { budget: text, adminsOnly } = words.value.access
  const budget = useResource(async (signal) => budgetOf(await gateway.get(PATH, signal)), [gateway])
  useEvents(gateway, ['budget'], budget.reload)
  const [isSetting, setSetting] = useState(false)
  const set = budget.value && (
    <Button icon="coin" onClick={() => setSetting(true)}>
      {text.set}
    </Button>
  )
  return (
    <Section title={text.title} description={text.about} {...(set && { actions: set })}>
      <Loaded of={budget} forbidden={adminsOnly}>
        {(shown) => <Shown budget={shown} />}
      </Loaded>
      {isSetting && budget.value && (
        <SetBudget
          {...{ gateway, budget: budget.value }}
          onSet={(now) => budget.set(() => now)}
          onClose={() => setSetting(false)}
        />
      )}
    </Section>
  )
}

function Shown({ budget }: { readonly budget: BudgetShown }) {
  const text = words.value.access.budget
  const { periods, tenants, changes, atLimit, localModel } = budget
  const last = changes[0]
  const isNone = periods.every(({ limitMicros }) => limitMicros === undefined)
  return (
    <>
      {isNone && <Notice tone="neutral">{text.nothing}</Notice>}
      <div class="house-columns">
        {periods.map((period) => (
          <Card key={period.period}>
            <Period period={period} isAlone={isNone} />
          </Card>
        ))}
      </div>
      <p class="house-quiet">
        {text.atLimit}: {text.atLimits[atLimit]}
        {localModel !== undefined && ` (${localModel})`}
        {last && ` · ${text.changes}: ${last.by}, ${format.dateTime(last.atMs)}`}
      </p>
      {tenants.length > 0 && (
        <Disclosure summary={text.keys}>
          {tenants.map(({ id, name, periods: own }) => (
            <div key={id} class="house-form">
              <strong>{name}</strong>
              {own.map((period) => (
                <Period key={period.period} period={period} />
              ))}
            </div>
          ))}
        </Disclosure>
      )}
    </>
  )
}

/** From this share on a limit is near. */
const NEAR = 0.85

interface PeriodProps {
  readonly period: PeriodShown
  /** Whether there is no limit at all, which is said elsewhere. */
  readonly isAlone?: boolean
}

function Period({ period: shown, isAlone = false }: PeriodProps) {
  const text = words.value.access.budget
  const nowMs = useNow(60_000)
  const { period, limitMicros, spentMicros, reservedMicros, leftMicros, overMicros = 0, turnsAtMs } = shown
  const used = spentMicros + reservedMicros
  const isOver = overMicros > 0 || leftMicros === 0
  const parts = [
    `${amountText(spentMicros)} ${text.spent}`,
    reservedMicros > 0 && `${amountText(reservedMicros)} ${text.reserved}`,
    overMicros > 0
      ? text.over(amountText(overMicros))
      : leftMicros !== undefined && `${amountText(leftMicros)} ${text.left}`,
    limitMicros !== undefined && text.turns(format.relative(turnsAtMs, nowMs)),
  ].filter(Boolean)
  return (
    <div class="house-period">
      <div class="house-spread">
        <strong>{text[period]}</strong>
        <span class="house-quiet">
          {limitMicros !== undefined ? text.of(amountText(limitMicros)) : isAlone ? '' : text.noLimit}
        </span>
      </div>
      {limitMicros !== undefined && (
        <Meter
          isBare
          label={text[period]}
          value={used}
          max={Math.max(limitMicros, 1)}
          text={text.meterLabel(amountText(used), amountText(limitMicros))}
          tone={isOver ? 'danger' : used > NEAR * limitMicros ? 'warning' : 'accent'}
        />
      )}
      <div class="house-quiet">{parts.join(' · ')}</div>
    </div>
  )
}

interface SetBudgetProps {
  readonly gateway: HouseGateway
  readonly budget: BudgetShown
  readonly onSet: (now: BudgetShown) => void
  readonly onClose: () => void
}

const typedLimit = ({ periods }: BudgetShown, which: 'day' | 'month'): string => {
  const limit = periods.find(({ period }) => period === which)?.limitMicros
  return limit === undefined ? '' : String(limit / 1e6)
}

/** An amount, `none` where the field is empty, or `undefined` for what is no amount. */
const limitOf = (text: string): number | 'none' | undefined => (text.trim() === '' ? 'none' : microsOf(text))

function SetBudget({ gateway, budget, onSet, onClose }: SetBudgetProps) {
  const text = words.value.access.budget
  const [day, setDay] = useState(typedLimit(budget, 'day'))
  const [month, setMonth] = useState(typedLimit(budget, 'month'))
  const [atLimit, setAtLimit] = useState(budget.atLimit)
  const [localModel, setLocalModel] = useState(budget.localModel ?? '')
  const [dayMicros, monthMicros] = [limitOf(day), limitOf(month)]
  const needsModel = atLimit === 'local' && localModel.trim() === ''
  const { run, isBusy, error } = useAction(async () => {
    const body = {
      ...{ day_micros: dayMicros, month_micros: monthMicros, at_limit: atLimit },
      ...(atLimit === 'local' && { local_model: localModel.trim() }),
    }
    onSet(budgetOf(await gateway.send('PUT', PATH, body)))
    showToast({ tone: 'good', text: text.saved })
    onClose()
  })
  const isGood = dayMicros !== undefined && monthMicros !== undefined && !needsModel
  const command = [
    `skein budget set --day ${day.trim() || 'none'} --month ${month.trim() || 'none'} --at-limit ${atLimit}`,
    atLimit === 'local' && !needsModel && `--local-model ${argumentOf(localModel.trim())}`,
  ]
  return (
    <Dialog
      title={text.set}
      onClose={onClose}
      actions={
        <Button kind="primary" isBusy={isBusy} disabled={!isGood} onClick={() => run()}>
          {text.save}
        </Button>
      }
    >
      <div class="house-form">
        <div class="house-pair">
          <AmountField label={text.dayLimit} value={day} onInput={setDay} />
          <AmountField label={text.monthLimit} value={month} onInput={setMonth} />
        </div>
        <p class="house-quiet">{text.limitHint(currency.value)}</p>
        <Select
          label={text.atLimit}
          value={atLimit}
          onChange={setAtLimit}
          options={AT_LIMITS.map((value) => ({ value, label: text.atLimits[value] }))}
        />
        {atLimit === 'local' && (
          <Field
            label={text.localModel}
            value={localModel}
            onInput={setLocalModel}
            maxLength={256}
            error={needsModel ? text.needsModel : undefined}
          />
        )}
        {error && <Problem error={error} />}
        <Copyable isCommand label={words.value.access.command} text={command.filter(Boolean).join(' ')} />
      </div>
    </Dialog>
  )
}

interface AmountFieldProps {
  readonly label: string
  readonly value: string
  readonly onInput: (value: string) => void
}

function AmountField({ label, value, onInput }: AmountFieldProps) {
  const { badAmount } = words.value.access.budget
  return (
    <Field
      label={label}
      inputMode="decimal"
      maxLength={18}
      value={value}
      onInput={onInput}
      error={limitOf(value) === undefined ? badAmount : undefined}
    />
  )
}

/** Calls that wait for a person: on the page of devices, and as cards over any page. */
import { useState } from 'preact/hooks'
import { Button, Icon, Notice } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { answerCall, tellEnd, wantsText } from './calls.ts'
import type { CallShown } from './devices-model.ts'
import { originText, Problem } from './Parts.tsx'
import type { HouseGateway, HousePorts } from './ports.ts'
import { useAction } from './resource.ts'
import { useWaitingCalls } from './useDevices.ts'
import './confirmations.css'

/** More are on the page of devices. */
const CARDS_MAX = 3

interface WaitingCallProps {
  readonly gateway: HouseGateway
  readonly call: CallShown
  readonly onAnswered: () => void
}

/** One call, with its two answers. */
export function WaitingCall({ gateway, call, onAnswered }: WaitingCallProps) {
  const text = words.value.devices
  const [answer, setAnswer] = useState<boolean>()
  const { run, isBusy, error } = useAction(async (approve: boolean) => {
    setAnswer(approve)
    tellEnd(await answerCall(gateway, call.call ?? '', approve))
    onAnswered()
  })
  return (
    <div class="house-waiting" role="group" aria-label={wantsText(call)}>
      <div class="house-waiting-what">
        <Icon name="shield" size={18} />
        <div>
          <div class="house-quiet">{text.wants(originText(call))}</div>
          <strong>{wantsText(call)}</strong>
        </div>
      </div>
      <div class="house-actions">
        <Button size="s" isBusy={isBusy && answer === false} disabled={isBusy} onClick={() => run(false)}>
          {text.decline}
        </Button>
        <Button size="s" kind="primary" isBusy={isBusy && answer === true} disabled={isBusy} onClick={() => run(true)}>
          {text.approve}
        </Button>
      </div>
      {error && <Problem error={error} />}
    </div>
  )
}

/** Nothing where none waits. */
export function WaitingCalls({ gateway }: Pick<HousePorts, 'gateway'>) {
  const text = words.value.devices
  const calls = useWaitingCalls(gateway)
  const waiting = calls.value ?? []
  if (waiting.length === 0) return null
  return (
    <Notice tone="warning" title={text.waitingTitle(waiting.length)}>
      <p class="house-quiet">{text.untilAnswer}</p>
      {waiting.map((call) => (
        <WaitingCall key={call.call} gateway={gateway} call={call} onAnswered={calls.reload} />
      ))}
    </Notice>
  )
}

/**
 * Cards at the edge of any page for calls that wait. Put it once into the shell.
 *
 * @param isHidden where the page shows them itself, such as `/devices`.
 * @param shownElsewhere ids of calls that are asked for elsewhere in the page, such as in an answer.
 */
export function CallConfirmations({
  gateway,
  isHidden = false,
  shownElsewhere,
}: {
  readonly gateway: HouseGateway
  readonly isHidden?: boolean
  readonly shownElsewhere?: ReadonlySet<string>
}) {
  const text = words.value.devices
  const calls = useWaitingCalls(gateway)
  const waiting = isHidden ? [] : (calls.value ?? []).filter(({ call }) => !shownElsewhere?.has(call ?? ''))
  return (
    <div class="house-confirmations" role="alert">
      {waiting.slice(0, CARDS_MAX).map((call) => (
        <div key={call.call} class="house-confirmation">
          <WaitingCall gateway={gateway} call={call} onAnswered={calls.reload} />
        </div>
      ))}
      {waiting.length > CARDS_MAX && (
        <a class="house-confirmation" href="/devices">
          {text.waitingTitle(waiting.length)}
        </a>
      )}
    </div>
  )
}

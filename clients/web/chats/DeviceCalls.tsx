import { useState } from 'preact/hooks'
import type { DeviceCall } from '../store/index.ts'
import { Button, Icon } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import './calls.css'

const SHOWN_MAX = 400

export interface DeviceCallsProps {
  readonly chats: Chats
  readonly calls: readonly DeviceCall[]
}

/** What a model did with devices while it answered; what waits for a person asks here. */
export function DeviceCalls({ chats, calls }: DeviceCallsProps) {
  return (
    <>
      {calls.map((call, index) => (
        <Call key={index} chats={chats} call={call} />
      ))}
    </>
  )
}

function Call({ chats, call }: { readonly chats: Chats; readonly call: DeviceCall }) {
  const { chats: say } = words.value
  const waits = call.state === 'confirm' && call.call !== undefined
  const value = valueOf(call)
  return (
    <div class={waits ? 'chats-fold chats-call-waits' : 'chats-fold'} role="group" aria-label={say.toolCall(call.tool)}>
      <details>
        <summary class="chats-call-head">
          <CallIcon call={call} />
          <span class="chats-call-tool">{call.tool}</span>
          {value !== undefined && <span>{value}</span>}
          <span class="chats-fold-side">{stateOf(call)}</span>
          <Icon name="chevronRight" size={15} class="chats-chevron" />
        </summary>
        <div class="chats-fold-body">
          <dl class="chats-call-list">
            <dt>{say.callArguments}</dt>
            <dd>
              <code>{call.arguments.slice(0, SHOWN_MAX)}</code>
            </dd>
            {(value ?? call.error) !== undefined && (
              <>
                <dt>{say.callResult}</dt>
                <dd>{call.error ?? value}</dd>
              </>
            )}
          </dl>
        </div>
      </details>
      {waits && <Confirmation chats={chats} call={call.call!} of={call} />}
    </div>
  )
}

/** Approve or decline: what is set in the world is asked for once, and not done without an answer. */
function Confirmation({ chats, call, of }: { readonly chats: Chats; readonly call: string; readonly of: DeviceCall }) {
  const [state, setState] = useState<'open' | 'sent' | 'failed'>('open')
  const { chats: say } = words.value
  const answer = async (approve: boolean): Promise<void> => {
    setState('sent')
    try {
      await chats.ports.answers.confirm(call, approve)
    } catch {
      setState('failed')
    }
  }
  return (
    <div class="chats-confirm" role="alert">
      <span class="chats-confirm-text">
        {say.confirmAsk(of.tool)} <code>{of.arguments.slice(0, SHOWN_MAX)}</code>
        {state === 'failed' && <span class="chats-bad"> {say.confirmFailed}</span>}
      </span>
      <Button size="s" disabled={state === 'sent'} onClick={() => void answer(false)}>
        {say.decline}
      </Button>
      <Button size="s" kind="primary" disabled={state === 'sent'} onClick={() => void answer(true)}>
        {say.approve}
      </Button>
    </div>
  )
}

function CallIcon({ call }: { readonly call: DeviceCall }) {
  if (call.state === 'begun') return <span class="chats-pulse" />
  if (call.state === 'confirm') return <Icon name="shield" size={15} />
  return call.outcome === 'done' ? (
    <Icon name="check" size={15} class="chats-good" />
  ) : (
    <Icon name="alert" size={15} class="chats-bad" />
  )
}

function stateOf({ state, outcome }: DeviceCall): string {
  const { chats: say } = words.value
  if (state === 'begun') return say.callBegun
  if (state === 'confirm') return say.callWaits
  const outcomes: Readonly<Record<string, string>> = say.callOutcomes
  return outcomes[outcome ?? ''] ?? outcome ?? say.callDone
}

function valueOf({ value, unit }: DeviceCall): string | undefined {
  if (value === undefined) return undefined
  const shown = String(value).slice(0, SHOWN_MAX)
  return unit === undefined ? shown : `${shown} ${unit}`
}

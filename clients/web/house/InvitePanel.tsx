/** An invite: as a QR code, as text, and as the one command for the other machine. */
import { useState } from 'preact/hooks'
import { Button, Copyable, Notice, QrCode, Select } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { leftText } from './format.ts'
import { inviteOf, type InviteShown } from './join-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { isForbidden, useAction, useNow } from './resource.ts'

const HOUR_MS = 3_600_000
const VALIDITIES = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS } as const
type Validity = keyof typeof VALIDITIES
const USES = ['1', '3', '10', '30'] as const
/** What a QR code of middle correction holds is more; above this cameras have their trouble. */
const QR_TEXT_MAX = 1200

export function InvitePanel({ gateway }: { readonly gateway: HouseGateway }) {
  const { join: text, adminsOnly } = words.value.access
  const [uses, setUses] = useState<(typeof USES)[number]>('1')
  const [validity, setValidity] = useState<Validity>('day')
  const [made, setMade] = useState<InviteShown>()
  const { run, isBusy, error } = useAction(async () => {
    const body = { uses: Number(uses), valid_ms: VALIDITIES[validity] }
    setMade(inviteOf(await gateway.send('POST', '/mesh/v1/invites', body)))
  })
  return (
    <div class="house-form">
      <div class="house-filters">
        <Select
          label={text.inviteUses}
          value={uses}
          onChange={setUses}
          options={USES.map((value) => ({ value, label: value }))}
        />
        <Select
          label={text.inviteValid}
          value={validity}
          onChange={setValidity}
          options={(Object.keys(VALIDITIES) as Validity[]).map((value) => ({ value, label: text.validities[value] }))}
        />
      </div>
      {error && (isForbidden(error) ? <Notice tone="warning">{adminsOnly}</Notice> : <Problem error={error} />)}
      <div class="house-actions">
        <Button kind={made ? 'plain' : 'primary'} icon="link" isBusy={isBusy} onClick={() => run()}>
          {made ? text.newInvite : text.makeInvite}
        </Button>
      </div>
      {made && <Made made={made} />}
    </div>
  )
}

function Made({ made: { invite, uses, expiresAtMs } }: { readonly made: InviteShown }) {
  const text = words.value.access.join
  const nowMs = useNow(1000)
  if (expiresAtMs <= nowMs) return <Notice tone="warning">{text.inviteOver}</Notice>
  return (
    <div class="house-qr">
      {invite.length <= QR_TEXT_MAX && <QrCode text={invite} label={text.inviteQr} size={220} />}
      <div class="house-form">
        <p>{text.inviteAbout}</p>
        <div>
          <div class="house-label">{text.inviteCommand}</div>
          <Copyable isCommand text={`skein node --join ${invite}`} label={text.inviteCommand} />
        </div>
        <div>
          <div class="house-label">{text.inviteText}</div>
          <Copyable text={invite} label={text.inviteText} />
        </div>
        <p class="house-quiet">
          <span role="timer">{text.inviteLeft(leftText(expiresAtMs - nowMs), uses)}</span>
        </p>
      </div>
    </div>
  )
}

/** Boards that ask to be let in: told to admins alone, compared by a code, named, and let in. */
import { useState } from 'preact/hooks'
import { Button, Copyable, Field, Notice, showToast } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { askBridge } from './bridge.ts'
import { argumentOf } from './devices-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { fieldsOf, listOf, textOf } from './reading.ts'
import { useAction, useResource } from './resource.ts'
import { useEvents } from './useDevices.ts'

interface Claim {
  readonly bridge: string
  readonly code: string
  readonly chip: string
  readonly class: string
  readonly where: string
}

function claimOf(body: unknown, bridge: string): Claim | undefined {
  const { code, chip, class: kind, where } = fieldsOf(body)
  const shown = textOf(code)
  return shown === undefined
    ? undefined
    : { bridge, code: shown, chip: textOf(chip) ?? '', class: textOf(kind) ?? '', where: textOf(where) ?? '' }
}

interface ClaimsProps {
  readonly gateway: HouseGateway
  /** Those that are connected. */
  readonly bridges: readonly string[]
  readonly onApproved: () => void
}

export function Claims({ gateway, bridges, onApproved }: ClaimsProps) {
  const text = words.value.devices
  const claims = useResource(async () => {
    const asked = await Promise.all(bridges.map((bridge) => claimsOf(gateway, bridge)))
    return asked.flat()
  }, [gateway, bridges.join('\n')])
  useEvents(gateway, ['device.claim', 'device.joined', 'device.bridge'], claims.reload)
  // who is no admin, or has no bridge, has no claims to see
  const shown = claims.value ?? []
  if (shown.length === 0) return null
  return (
    <Notice tone="info" title={text.claims}>
      <p class="house-quiet">{text.claimsAbout}</p>
      {shown.map((claim) => (
        <ClaimRow
          key={`${claim.bridge} ${claim.chip}`}
          {...{ gateway, claim }}
          onApproved={() => {
            claims.reload()
            onApproved()
          }}
        />
      ))}
    </Notice>
  )
}

/** None of a bridge that does not answer: the others' are still to be let in. */
async function claimsOf(gateway: HouseGateway, bridge: string): Promise<Claim[]> {
  try {
    const told = await askBridge(gateway, 'claims', {}, bridge)
    return listOf(told['claims']).flatMap((each) => claimOf(each, bridge) ?? [])
  } catch {
    return []
  }
}

interface ClaimRowProps {
  readonly gateway: HouseGateway
  readonly claim: Claim
  readonly onApproved: () => void
}

function ClaimRow({ gateway, claim, onApproved }: ClaimRowProps) {
  const text = words.value.devices
  const [name, setName] = useState('')
  const given = name.trim()
  const { run, isBusy, error } = useAction(async () => {
    const wish = { code: claim.code, ...(given !== '' && { name: given }) }
    const { id } = await askBridge(gateway, 'approve', wish, claim.bridge)
    showToast({ tone: 'good', text: text.isIn(textOf(id) ?? claim.code) })
    onApproved()
  })
  return (
    <form
      class="house-claim"
      onSubmit={(event) => {
        event.preventDefault()
        run()
      }}
    >
      <div class="house-claim-code">
        <span class="house-code">{claim.code}</span>
        <span class="house-quiet">{[claim.class, claim.where].filter(Boolean).join(' · ')}</span>
      </div>
      <Field
        label={text.claimName}
        hint={text.claimNameHint}
        maxLength={64}
        value={name}
        onInput={setName}
        after={
          <Button type="submit" kind="primary" isBusy={isBusy}>
            {text.letIn}
          </Button>
        }
      />
      <Copyable
        isCommand
        label={text.command}
        text={`skein devices approve ${argumentOf(claim.code)}${given === '' ? '' : ` --name ${argumentOf(given)}`}`}
      />
      {error && <Problem error={error} />}
    </form>
  )
}

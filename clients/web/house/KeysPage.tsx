/** `/keys`: who may ask this mesh, for what, and how much. For admins. */
import { useState } from 'preact/hooks'
import {
  Badge,
  Button,
  Card,
  Checkbox,
  Confirm,
  Empty,
  IconButton,
  Menu,
  Page,
  showToast,
  Table,
  type Column,
  type Tone,
} from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { argumentOf } from './devices-model.ts'
import { issuedOf, keysOf, type IssuedKey, type KeyShown } from './keys-model.ts'
import { NewKey } from './NewKey.tsx'
import { Loaded } from './Parts.tsx'
import type { HousePorts } from './ports.ts'
import { useResource } from './resource.ts'
import { RotateKey, SecretOnce } from './SecretOnce.tsx'
import { useEvents } from './useDevices.ts'
import './house.css'

const PATH = '/mesh/v1/keys'

type Doing =
  | { readonly what: 'make' }
  | { readonly what: 'secret'; readonly issued: IssuedKey }
  | { readonly what: 'rotate' | 'revoke'; readonly key: KeyShown }

export function KeysPage({ gateway, keys: holder }: HousePorts) {
  const { keys: text, adminsOnly } = words.value.access
  const keys = useResource(async (signal) => keysOf(await gateway.get(PATH, signal)), [gateway])
  useEvents(gateway, ['key'], keys.reload)
  const [doing, setDoing] = useState<Doing>()
  const [isAll, setAll] = useState(false)
  const close = (): void => setDoing(undefined)
  const told = (answer: unknown): void => {
    const issued = issuedOf(answer)
    setDoing(issued && { what: 'secret', issued })
    keys.reload()
  }
  const make = (
    <Button kind="primary" icon="plus" onClick={() => setDoing({ what: 'make' })}>
      {text.make}
    </Button>
  )
  const all = keys.value ?? []
  return (
    <Page title={text.title} description={text.about} {...(keys.value && { actions: make })}>
      <Loaded of={keys} forbidden={adminsOnly}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty icon="key" title={text.none} action={make}>
              {text.noneHint}
            </Empty>
          ) : (
            <>
              <Card isFlush>
                <Table
                  label={text.title}
                  columns={columnsOf((what, key) => setDoing({ what, key }))}
                  rows={rows.filter(({ state }) => isAll || state === 'good')}
                  rowKey={({ id }) => id}
                  firstSort={{ column: 'name', isDescending: false }}
                  empty={<p class="house-quiet house-pad">{text.none}</p>}
                />
              </Card>
              {rows.some(({ state }) => state !== 'good') && (
                <Checkbox label={text.showOld} isChecked={isAll} onChange={setAll} />
              )}
            </>
          )
        }
      </Loaded>
      {doing?.what === 'make' && (
        <NewKey {...{ gateway, holder }} isFirst={all.length === 0} onMade={told} onClose={close} />
      )}
      {doing?.what === 'secret' && <SecretOnce issued={doing.issued} onClose={close} />}
      {doing?.what === 'rotate' && <RotateKey gateway={gateway} name={doing.key} onRotated={told} onClose={close} />}
      {doing?.what === 'revoke' && (
        <Confirm
          title={text.revokeTitle(doing.key.name)}
          confirmLabel={text.revoke}
          isDanger
          command={`skein keys revoke ${argumentOf(doing.key.name)}`}
          onConfirm={async () => {
            await gateway.send('DELETE', `${PATH}/${encodeURIComponent(doing.key.id)}`)
            showToast({ text: text.revoked(doing.key.name) })
            keys.reload()
          }}
          onClose={close}
        >
          <p>{text.revokeAbout}</p>
        </Confirm>
      )}
    </Page>
  )
}

const TONES: Readonly<Record<KeyShown['state'], Tone>> = { good: 'good', expired: 'neutral', revoked: 'danger' }

function columnsOf(onDo: (what: 'rotate' | 'revoke', key: KeyShown) => void): Column<KeyShown>[] {
  const text = words.value.access.keys
  return [
    {
      id: 'name',
      label: text.name,
      sortBy: ({ name }) => name,
      cell: ({ name, hint, state }) => (
        <span class="house-inline">
          <strong>{name}</strong>
          {hint !== undefined && <code class="house-quiet">…{hint}</code>}
          {state !== 'good' && <Badge tone={TONES[state]}>{text.states[state]}</Badge>}
        </span>
      ),
    },
    { id: 'may', label: text.may, cell: (key) => <May of={key} /> },
    { id: 'limits', label: text.limits, isWide: true, cell: limitsText },
    {
      id: 'made',
      label: text.created,
      isWide: true,
      sortBy: ({ createdAtMs }) => createdAtMs,
      cell: ({ createdAtMs, expiresAtMs, oldUntilMs, state }) => (
        <>
          {format.date(createdAtMs)}
          {state === 'good' && expiresAtMs !== undefined && (
            <div class="house-quiet">{text.expires(format.date(expiresAtMs))}</div>
          )}
          {state === 'good' && oldUntilMs !== undefined && (
            <div class="house-quiet">{text.oldUntil(format.dateTime(oldUntilMs))}</div>
          )}
        </>
      ),
    },
    {
      id: 'act',
      label: text.actions,
      cell: (key) =>
        key.state === 'good' && (
          <Menu
            label={key.name}
            trigger={(props) => <IconButton icon="more" size="s" label={`${text.title}: ${key.name}`} {...props} />}
            items={[
              { label: text.rotate, icon: 'refresh', onSelect: () => onDo('rotate', key) },
              { label: text.revoke, icon: 'trash', isDanger: true, onSelect: () => onDo('revoke', key) },
            ]}
          />
        ),
    },
  ]
}

function May({ of: { scopes, models, devices, isLocalOnly } }: { readonly of: KeyShown }) {
  const text = words.value.access.keys
  const isAllModels = models.length === 0 || models.includes('*')
  return (
    <span class="house-inline">
      {scopes.map((scope) => (
        <Badge key={scope} tone={scope === 'admin' ? 'accent' : 'neutral'} title={text.scopeHints[scope]}>
          {text.scopes[scope]}
        </Badge>
      ))}
      {devices !== 'none' && <Badge icon="device">{text.deviceLevels[devices]}</Badge>}
      {!isAllModels && <Badge icon="cube">{models.join(', ')}</Badge>}
      {isLocalOnly && (
        <Badge icon="lock" tone="good">
          {text.localOnly}
        </Badge>
      )}
    </span>
  )
}

function limitsText({ requestsPerMinute, tokensPerMinute, tokensPerDay }: KeyShown): string {
  const text = words.value.access.keys
  const said = [
    [text.perMinute, requestsPerMinute],
    [text.tokensPerMinute, tokensPerMinute],
    [text.tokensPerDay, tokensPerDay],
  ] as const
  const limits = said.flatMap(([label, value]) => (value === undefined ? [] : `${label}: ${format.compact(value)}`))
  return limits.length === 0 ? text.noLimit : limits.join(' · ')
}

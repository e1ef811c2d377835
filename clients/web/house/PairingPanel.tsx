/** A code on this screen, typed at the other machine of the same network. */
import { useEffect } from 'preact/hooks'
import { Button, Copyable, Disclosure, Notice } from '../ui/index.ts'
import { systemClock } from '../platform/index.ts'
import { words } from '../words/index.ts'
import { leftText } from './format.ts'
import { pairingOf, type PairingShown } from './join-model.ts'
import { Problem } from './Parts.tsx'
import type { HouseGateway } from './ports.ts'
import { isForbidden, useAction, useNow, useResource } from './resource.ts'

const PATH = '/mesh/v1/pairing'
/** The one who joins is no member yet, so that no event tells of it. */
const LOOK_MS = 1500

export function PairingPanel({ gateway }: { readonly gateway: HouseGateway }) {
  const { join: text, adminsOnly } = words.value.access
  const pairing = useResource(async (signal) => pairingOf(await gateway.get(PATH, signal)), [gateway])
  const state = pairing.value?.state
  useEffect(() => (state === 'open' ? systemClock.every(LOOK_MS, pairing.reload) : undefined), [state])
  const { run, isBusy, error } = useAction(async (method: 'POST' | 'DELETE') => {
    const now = pairingOf(await gateway.send(method, PATH))
    pairing.set(() => now)
  })
  if (isForbidden(pairing.error)) return <Notice tone="warning">{adminsOnly}</Notice>
  if (pairing.error?.code === 'not_the_authority') return <Notice tone="info">{text.codeNotHere}</Notice>
  const isOpen = state === 'open' && pairing.value?.code !== undefined
  return (
    <div class="house-form">
      {pairing.value && <Ended pairing={pairing.value} />}
      {isOpen && <OpenCode pairing={pairing.value!} />}
      {(error ?? pairing.error) && <Problem error={(error ?? pairing.error)!} onRetry={pairing.reload} />}
      <div class="house-actions">
        <Button
          kind={isOpen ? 'plain' : 'primary'}
          icon={isOpen ? 'refresh' : 'plug'}
          isBusy={isBusy}
          onClick={() => run('POST')}
        >
          {isOpen ? text.newCode : text.makeCode}
        </Button>
        {isOpen && (
          <Button kind="quiet" disabled={isBusy} onClick={() => run('DELETE')}>
            {text.endCode}
          </Button>
        )}
      </div>
      <p class="house-quiet">{text.codeHow}</p>
    </div>
  )
}

/** How the code before came to its end, if one did while the page was looked at. */
function Ended({ pairing: { state, joined } }: { readonly pairing: PairingShown }) {
  const text = words.value.access.join
  if (state === 'used')
    return (
      <Notice tone="good" title={text.codeUsed(joined ?? '')}>
        {text.codeUsedHint}
      </Notice>
    )
  if (state === 'spent') return <Notice tone="warning">{text.codeSpent}</Notice>
  return null
}

function OpenCode({ pairing: { code = '', expiresAtMs, triesLeft } }: { readonly pairing: PairingShown }) {
  const text = words.value.access.join
  const nowMs = useNow(1000)
  return (
    <>
      <div class="house-big-code">
        <output class="house-code" aria-label={[...code].join(' ')}>
          {code}
        </output>
        <span class="house-quiet">
          <span role="timer">{text.codeLeft(leftText(expiresAtMs - nowMs))}</span> · {text.codeTries(triesLeft)}
        </span>
      </div>
      <div>
        <div class="house-label">{text.codeAbout}</div>
        <Copyable isCommand text={`skein join ${code}`} />
      </div>
      <Disclosure summary={text.codeStart}>
        <Copyable isCommand text={`skein node --join ${code}`} />
        <p class="house-quiet">{text.noMulticast}</p>
        <Copyable isCommand text={`skein join ${code} --bootstrap /ip4/ADDRESS/tcp/PORT`} />
      </Disclosure>
    </>
  )
}

/** What the owner of the mesh may tell a node, each with the command that does the same. */
import { useState } from 'preact/hooks'
import { Button, Confirm, Copyable, showToast } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import { runningOn } from './model.ts'
import type { MeshGateway } from './ports.ts'
import { quoted } from './shared.tsx'
import type { MeshNode } from './types.ts'

type Directive = 'cordon' | 'uncordon' | 'drain'

interface ActionsProps {
  readonly gateway: MeshGateway
  readonly live: LiveMesh
  readonly node: MeshNode
}

const commandOf = (directive: Directive, { name }: MeshNode): string => `skein ${directive} ${quoted(name)}`

export function NodeActions({ gateway, live, node }: ActionsProps) {
  const [asked, setAsked] = useState<Directive>()
  const { mesh } = words.value
  const isHeld = node.load?.isCordoned === true || node.load?.isDraining === true
  const tell = async (directive: Directive): Promise<void> => {
    await gateway.send('POST', `/mesh/v1/nodes/${encodeURIComponent(node.peerId)}/${directive}`)
    showToast({ text: mesh.told[directive](node.name), tone: 'good' })
    live.refresh()
  }
  const open = (directive: Directive): void => {
    if (directive !== 'uncordon') return setAsked(directive)
    tell(directive).catch((thrown: unknown) =>
      showToast({ text: thrown instanceof Error ? thrown.message : String(thrown), tone: 'danger' }),
    )
  }
  const offered: readonly Directive[] = isHeld
    ? ['uncordon', ...(node.load?.isDraining === true ? [] : (['drain'] as const))]
    : ['drain', 'cordon']
  return (
    <div class="mesh-actions">
      {offered.map((directive) => (
        <div key={directive} class="mesh-action">
          <Button
            kind={directive === 'uncordon' ? 'primary' : 'plain'}
            disabled={node.state !== 'ready'}
            onClick={() => open(directive)}
          >
            {mesh[directive]}
          </Button>
          <span class="mesh-muted">{mesh[`${directive}Hint`]}</span>
          <Copyable text={commandOf(directive, node)} isCommand label={mesh.sameCommand} />
        </div>
      ))}
      {asked !== undefined && asked !== 'uncordon' && (
        <Ask
          directive={asked}
          node={node}
          live={live}
          onConfirm={() => tell(asked)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </div>
  )
}

interface AskProps {
  readonly directive: 'cordon' | 'drain'
  readonly node: MeshNode
  readonly live: LiveMesh
  readonly onConfirm: () => Promise<void>
  readonly onClose: () => void
}

function Ask({ directive, node, live, onConfirm, onClose }: AskProps) {
  const { mesh } = words.value
  const state = live.state.value
  const running = runningOn(state, node.peerId).length
  const isLast = ![...state.nodes.values()].some(({ peerId, isEligible }) => isEligible && peerId !== node.peerId)
  return (
    <Confirm
      title={directive === 'drain' ? mesh.drainAsk(node.name) : mesh.cordonAsk(node.name)}
      confirmLabel={mesh[directive]}
      isDanger={isLast}
      command={commandOf(directive, node)}
      onConfirm={onConfirm}
      onClose={onClose}
    >
      <p>{directive === 'drain' ? mesh.drainRuns(running) : mesh.cordonRuns(running)}</p>
      {isLast && <p>{mesh.lastOne}</p>}
    </Confirm>
  )
}

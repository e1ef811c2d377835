import { useEffect, useState } from 'preact/hooks'
import type { Made } from '../answers/index.ts'
import { Dialog, Icon, Skeleton } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import { explanationOf, type Explanation, type Place } from './explanation.ts'
import './why.css'

export interface WhyDialogProps {
  readonly chats: Chats
  readonly made: Made
  readonly onClose: () => void
}

type Asked = { readonly state: 'asking' | 'away' } | { readonly state: 'known'; readonly explanation: Explanation }

/** Where an answer was made and why there, as the coordinator explains it; without it, as far as the page itself knows. */
export function WhyDialog({ chats, made, onClose }: WhyDialogProps) {
  const { chats: say } = words.value
  const asked = useExplanation(chats, made.taskId)
  return (
    <Dialog title={say.whyTitle} onClose={onClose}>
      <div class="chats-why">
        {asked.state === 'asking' && <Skeleton lines={4} />}
        {asked.state === 'known' && (
          <ol class="chats-why-places">
            {asked.explanation.places.map((place, index) => (
              <PlaceItem key={index} place={place} isOnly={asked.explanation.places.length === 1} />
            ))}
          </ol>
        )}
        {asked.state === 'away' && <p class="chats-why-note">{say.whyOffline}</p>}
        <Facts made={made} explanation={asked.state === 'known' ? asked.explanation : undefined} />
        {made.taskId !== undefined && (
          <a href={`/tasks/${encodeURIComponent(made.taskId)}`} onClick={onClose}>
            {say.whyAll}
          </a>
        )}
      </div>
    </Dialog>
  )
}

function useExplanation(chats: Chats, taskId: string | undefined): Asked {
  const [asked, setAsked] = useState<Asked>({ state: taskId === undefined ? 'away' : 'asking' })
  useEffect(() => {
    if (taskId === undefined) return
    const abort = new AbortController()
    chats.ports.gateway.get(`/mesh/v1/tasks/${encodeURIComponent(taskId)}/explain`, abort.signal).then(
      (body) => {
        const explanation = explanationOf(body)
        setAsked(explanation.places.length > 0 ? { state: 'known', explanation } : { state: 'away' })
      },
      () => {
        if (!abort.signal.aborted) setAsked({ state: 'away' })
      },
    )
    return () => abort.abort()
  }, [taskId])
  return asked
}

function PlaceItem({ place, isOnly }: { readonly place: Place; readonly isOnly: boolean }) {
  const { chats: say } = words.value
  const { node, route, reason, leave, from, to, others } = place
  const reasons: Readonly<Record<string, string>> = say.reasons
  const leaves: Readonly<Record<string, string>> = say.leaves
  const passed = others.filter(({ rejected }) => rejected !== undefined)
  return (
    <li class="chats-why-place">
      <Icon name={route === 'cloud' ? 'cloud' : route === 'local' ? 'home' : 'mesh'} size={18} />
      <div>
        <strong>{say.ranOn(node, say.routes[route])}</strong>{' '}
        {!isOnly && (
          <span class="chats-why-range">
            {say.beganAt(format.number(from))} {to !== undefined && say.endedAt(format.number(to))}
          </span>
        )}
        <p>{reasons[reason] ?? say.reasons.other}</p>
        {leave !== undefined && <p>{leaves[leave] ?? say.leaves.other}</p>}
        <p>{predictionText(place)}</p>
        {passed.map(({ node: name, rejected }) => (
          <p key={name} class="chats-why-note">
            {say.passedOver} {name}: {rejected}
          </p>
        ))}
      </div>
    </li>
  )
}

/** What was expected of this place, and how far ahead of the next it was. */
function predictionText({ predictedMs, others }: Place): string {
  const { chats: say } = words.value
  if (predictedMs === undefined) return ''
  const next = others
    .flatMap(({ node, laterMs }) => (laterMs === undefined ? [] : [{ node, laterMs }]))
    .toSorted((a, b) => a.laterMs - b.laterMs)[0]
  if (!next) return `${say.predicted(format.duration(predictedMs), undefined)} ${say.onlyOne}`
  const ahead = next.laterMs >= 1 ? say.ahead(format.duration(next.laterMs), next.node) : say.behind(next.node)
  return say.predicted(format.duration(predictedMs), ahead)
}

function Facts({ made, explanation }: { readonly made: Made; readonly explanation: Explanation | undefined }) {
  const { chats: say } = words.value
  const { promptTokens, cachedTokens = 0, firstTokenMs, seed, node, route } = made
  const facts = [
    node !== undefined && !explanation && say.ranOn(node, route === undefined ? '?' : say.routes[route]),
    promptTokens !== undefined &&
      say.prompt(format.number(promptTokens), cachedTokens > 0 ? format.number(cachedTokens) : undefined),
    firstTokenMs !== undefined && say.firstToken(format.duration(firstTokenMs)),
    seed !== undefined && say.seed(String(seed)),
    explanation?.localOnly === true && say.localOnlyKept,
  ].filter((fact): fact is string => fact !== false)
  return (
    <ul class="chats-why-facts">
      {facts.map((fact) => (
        <li key={fact}>{fact}</li>
      ))}
    </ul>
  )
}

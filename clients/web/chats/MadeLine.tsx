import type { Made } from '../answers/index.ts'
import { Icon, type IconName } from '../ui/index.ts'
import { format, words } from '../words/index.ts'

export interface MadeLineProps {
  readonly made: Made
  readonly onOpen: () => void
}

const MICROS = 1_000_000
const ICONS: Readonly<Record<NonNullable<Made['route']>, IconName>> = { local: 'home', mesh: 'mesh', cloud: 'cloud' }

/** One quiet line: where an answer was made, how much it is and how fast it came; it opens where and why. */
export function MadeLine({ made, onOpen }: MadeLineProps) {
  const { chats: say } = words.value
  const { node, route } = made
  if (node === undefined) return null
  const items = madeItems(made)
  return (
    <button type="button" class="chats-made" aria-haspopup="dialog" onClick={onOpen}>
      {route !== undefined && <Icon name={ICONS[route]} size={14} />}
      {items.map(({ text, tone }) => (
        <span key={text} class={tone === undefined ? 'chats-made-item' : `chats-made-item chats-made-${tone}`}>
          {text}
        </span>
      ))}
      <span class="ui-offscreen">{say.whyHere}</span>
    </button>
  )
}

interface Item {
  readonly text: string
  readonly tone?: 'moved' | 'cloud'
}

function madeItems(made: Made): Item[] {
  const { chats: say } = words.value
  const { node, route, completionTokens, tokensPerS, cost, moves = [], isKept, standIn } = made
  const items: (Item | false)[] = [
    { text: node! },
    route !== undefined && { text: say.routes[route], ...(route === 'cloud' && { tone: 'cloud' as const }) },
    isKept === true && { text: say.kept },
    standIn !== undefined && { text: say.standIn(standIn) },
    completionTokens !== undefined && {
      text: completionTokens === 1 ? say.oneToken : say.tokens(format.number(completionTokens)),
    },
    tokensPerS !== undefined && tokensPerS > 0 && { text: say.perSecond(rate(tokensPerS)) },
    completionTokens !== undefined && {
      text: cost === undefined || cost === 0 ? say.free : format.amount(cost * MICROS),
    },
    moves.length > 0 && { text: say.movedTimes(moves.length), tone: 'moved' as const },
  ]
  return items.filter((item): item is Item => item !== false)
}

/** Whole from 10 on, with one digit below. */
const rate = (value: number): string => format.number(value, { maximumFractionDigits: value < 10 ? 1 : 0 })

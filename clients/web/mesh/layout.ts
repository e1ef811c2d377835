/**
 * Where things stand in the topology: the coordinator in the middle, its nodes to the left and right, cloud endpoints above,
 * bridges below. A pure function of who is there, so that nothing moves but when somebody comes or goes.
 */

export type PlaceKind = 'node' | 'cloud' | 'bridge'

export interface Thing {
  readonly id: string
  readonly name: string
  readonly kind: PlaceKind
}

export interface Place extends Thing {
  readonly x: number
  readonly y: number
}

/** How much of a thing is drawn: a card, a chip with its name, or a dot. */
export type Density = 'card' | 'chip' | 'dot'

export interface Layout {
  readonly width: number
  readonly height: number
  readonly center: { readonly x: number; readonly y: number }
  readonly density: Density
  readonly places: readonly Place[]
}

const CARDS_MAX = 8
const CHIPS_MAX = 20
/** Narrower than this no card has room beside another. */
const CARDS_WIDTH = 680
/** From so many on they stand in two rings, alternately. */
const RINGS_FROM = 15
const INNER_RING = 0.63

/** Links that are longer only look emptier. */
const RADIUS_MAX = { few: 340, many: 620 }
const FEW_MAX = 6

/** Half of what is drawn, and the distance to the edge. */
const MARGINS: Readonly<Record<Density, { readonly x: number; readonly y: number }>> = {
  card: { x: 96, y: 48 },
  chip: { x: 66, y: 34 },
  dot: { x: 52, y: 34 },
}

export function layoutOf(things: readonly Thing[], width: number): Layout {
  const density = densityOf(things.length, width)
  const isFlat = things.length <= 2 && things.every(({ kind }) => kind === 'node')
  const height = heightOf(things.length, density, width, isFlat)
  const center = { x: width / 2, y: height / 2 }
  const margin = MARGINS[density]
  const longest = things.length <= FEW_MAX ? RADIUS_MAX.few : RADIUS_MAX.many
  const radius = { x: Math.min(longest, width / 2 - margin.x), y: height / 2 - margin.y }
  const { order, start } = inOrder(things)
  const step = (2 * Math.PI) / Math.max(1, order.length)
  const hasRings = order.length >= RINGS_FROM
  const places = order.map((thing, i): Place => {
    const angle = start * step + i * step - Math.PI / 2
    const ring = hasRings && i % 2 === 1 ? INNER_RING : 1
    return {
      ...thing,
      x: round(center.x + Math.cos(angle) * radius.x * ring),
      y: round(center.y + Math.sin(angle) * radius.y * ring),
    }
  })
  return { width, height, center, density, places }
}

const round = (value: number): number => Math.round(value * 10) / 10

function densityOf(count: number, width: number): Density {
  if (count <= CARDS_MAX && width >= CARDS_WIDTH) return 'card'
  return count <= CHIPS_MAX && width >= CARDS_WIDTH ? 'chip' : 'dot'
}

/** @param isFlat nothing stands above or below the middle, where its name is. */
function heightOf(count: number, density: Density, width: number, isFlat: boolean): number {
  if (count === 0) return 240
  if (density === 'card') return isFlat ? 300 : 420
  if (width < CARDS_WIDTH) return Math.min(640, 320 + count * 10)
  return Math.min(760, 420 + count * 7)
}

/**
 * Clockwise from the top: half of the cloud, half of the nodes, the bridges, the other half of the nodes, the rest of the
 * cloud. `start`: of which place the first one is behind the top, so that the cloud is in the middle above.
 */
function inOrder(things: readonly Thing[]): { readonly order: readonly Thing[]; readonly start: number } {
  const of = (kind: PlaceKind): Thing[] =>
    things.filter((thing) => thing.kind === kind).sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id))
  const nodes = of('node')
  const clouds = of('cloud')
  const right = nodes.filter((_, i) => i % 2 === 0)
  const left = nodes.filter((_, i) => i % 2 === 1).reverse()
  const upperRight = clouds.slice(Math.floor(clouds.length / 2))
  const upperLeft = clouds.slice(0, Math.floor(clouds.length / 2))
  const order = [...upperRight, ...right, ...of('bridge'), ...left, ...upperLeft]
  // a node alone has its place at the side, like any other
  if (order.length === 1 && nodes.length === 1) return { order, start: 0.25 }
  // an odd cloud stands at the top itself; without one, nothing does and the first is half a step beside it
  return { order, start: clouds.length % 2 === 1 ? 0 : 0.5 }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

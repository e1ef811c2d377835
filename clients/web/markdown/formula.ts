/** Maths as MathML, made of the tree that temml makes, element by element: what is not on the list is left out. */
import { createElement, type ComponentChild } from 'preact'

const ELEMENTS = new Set([
  ...[
    'math',
    'mrow',
    'mi',
    'mn',
    'mo',
    'ms',
    'mtext',
    'mspace',
    'mfrac',
    'msqrt',
    'mroot',
    'mstyle',
    'merror',
    'mpadded',
  ],
  ...['mphantom', 'msub', 'msup', 'msubsup', 'munder', 'mover', 'munderover', 'mmultiscripts', 'mprescripts', 'none'],
  ...['mtable', 'mtr', 'mtd', 'menclose', 'semantics'],
])
const ATTRIBUTES = new Set([
  ...[
    'display',
    'mathvariant',
    'stretchy',
    'fence',
    'form',
    'lspace',
    'rspace',
    'minsize',
    'maxsize',
    'symmetric',
    'accent',
  ],
  ...[
    'accentunder',
    'largeop',
    'movablelimits',
    'separator',
    'linethickness',
    'displaystyle',
    'scriptlevel',
    'width',
    'height',
  ],
  ...[
    'depth',
    'voffset',
    'columnalign',
    'rowalign',
    'columnspacing',
    'rowspacing',
    'columnlines',
    'rowlines',
    'notation',
  ],
  ...['columnspan', 'rowspan', 'mathsize', 'mathcolor', 'encoding'],
])
const VALUE = /^[A-Za-z0-9 .#%+-]{0,60}$/
const DEPTH_MAX = 100
const NODES_MAX = 5000
const EXPANSIONS_MAX = 200
const KEPT_MAX = 300

/** A node of temml's tree: an element, a text, or a bundle of others. */
interface MathTree {
  readonly type?: string
  readonly text?: string
  readonly attributes?: Readonly<Record<string, unknown>>
  readonly children?: readonly MathTree[]
}

interface MathEngine {
  __renderToMathMLTree(tex: string, options: object): MathTree
}

let engine: Promise<MathEngine> | undefined
const kept = new Map<string, ComponentChild>()

const keyOf = (tex: string, isApart: boolean): string => `${isApart ? '$$' : '$'}${tex}`

/** What was set before, at once; null of what cannot be set. */
export const formulaBefore = (tex: string, isApart: boolean): ComponentChild | undefined =>
  kept.get(keyOf(tex, isApart))

/** @returns null for what is no formula that can be set: it is shown as it is written. */
export async function formula(tex: string, isApart: boolean): Promise<ComponentChild> {
  const before = formulaBefore(tex, isApart)
  if (before !== undefined) return before
  engine ??= import('temml').then((module) => module.default as unknown as MathEngine)
  const set = setting(await engine, tex, isApart)
  if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value!)
  kept.set(keyOf(tex, isApart), set)
  return set
}

function setting(made: MathEngine, tex: string, isApart: boolean): ComponentChild {
  try {
    const options = {
      displayMode: isApart,
      throwOnError: true,
      trust: false,
      maxExpand: EXPANSIONS_MAX,
      maxSize: [20, 20],
    }
    const budget = { nodes: NODES_MAX }
    return elementOf(made.__renderToMathMLTree(tex, options), budget, 0)
  } catch {
    // what a model takes for TeX is not always some
    return null
  }
}

function elementOf(tree: MathTree, budget: { nodes: number }, depth: number): ComponentChild {
  if (depth > DEPTH_MAX || --budget.nodes < 0) return null
  if (typeof tree.text === 'string' && tree.type === undefined) return tree.text
  const children = (tree.children ?? []).map((child) => elementOf(child, budget, depth + 1))
  if (tree.type === undefined || !ELEMENTS.has(tree.type))
    return depth === 0 || tree.type === undefined ? children : null
  return createElement(tree.type, attributesOf(tree), ...children)
}

function attributesOf({ attributes = {} }: MathTree): Record<string, string> {
  const plain = Object.entries(attributes).map(([name, value]) => [name, String(value)] as const)
  return Object.fromEntries(plain.filter(([name, value]) => ATTRIBUTES.has(name) && VALUE.test(value)))
}

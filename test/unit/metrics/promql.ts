/** What an expression of PromQL asks for: the series that it selects, by name, with the labels that it goes by. */
import { parser } from '@prometheus-io/lezer-promql'

export interface Selection {
  readonly metric: string
  /** Of its matchers. */
  readonly labels: readonly string[]
}

export interface Asked {
  readonly selections: readonly Selection[]
  /** Of `by` and `without`. */
  readonly grouping: readonly string[]
}

/** @throws SyntaxError where the grammar of Prometheus does not take it. */
export function askedBy(expression: string): Asked {
  const tree = parser.parse(expression)
  const selections: { metric: string; labels: string[] }[] = []
  const grouping: string[] = []
  const groupings: boolean[] = []
  tree.iterate({
    enter: ({ type, name, from, to }) => {
      const text = expression.slice(from, to)
      if (type.isError)
        throw new SyntaxError(`${expression}: not PromQL at ${from}: '${expression.slice(from, from + 20)}'`)
      if (name === 'VectorSelector') selections.push({ metric: '', labels: [] })
      if (name === 'GroupingLabels') groupings.push(true)
      if (name === 'Identifier' && selections.length > 0) selections.at(-1)!.metric ||= text
      if (name !== 'LabelName') return
      if (groupings.length > 0) grouping.push(text)
      else selections.at(-1)!.labels.push(text)
    },
    leave: ({ name }) => {
      if (name === 'GroupingLabels') groupings.pop()
    },
  })
  return { selections, grouping }
}

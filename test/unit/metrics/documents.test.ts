/** The page about metrics, the alerts and the dashboard name what there is: no metric more, none less, no label that is none. */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { MetricsHarness, type Family } from './harness.ts'
import { askedBy } from './promql.ts'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const page = read('docs/METRICS.md')
const PAGE = 'docs/METRICS.md'

let families: ReadonlyMap<string, Family>
beforeAll(async () => {
  families = await new MetricsHarness().fill().families()
})

/** Labels of a family, without those that its type has by itself. */
const labelsOf = ({ samples }: Family): Set<string> =>
  new Set(samples.flatMap(({ labels }) => Object.keys(labels)).filter((label) => label !== 'le'))

/** Labels that Prometheus adds when it reads. */
const ADDED = new Set(['instance', 'job', '__name__'])

/** Holds `expression` against what there is. */
function check(expression: string): void {
  const { selections, grouping } = askedBy(expression)
  expect(selections.length, expression).toBeGreaterThan(0)
  const known = new Set([...ADDED, 'le'])
  for (const { metric, labels } of selections) {
    if (metric === 'up') continue
    const family = families.get(metric) ?? families.get(metric.replace(/_(bucket|sum|count)$/, ''))
    expect(family, `${metric} of ${expression}`).toBeDefined()
    expect(
      family!.samples.some(({ name }) => name === metric),
      `${metric} is a series`,
    ).toBe(true)
    const own = labelsOf(family!)
    for (const label of labels) expect([...own, ...ADDED], `${metric}{${label}}`).toContain(label)
    for (const label of own) known.add(label)
  }
  for (const label of grouping) expect([...known], `by ${label} in ${expression}`).toContain(label)
}

describe('the metrics', () => {
  it('have each a series once something has happened, in units that their names say', () => {
    expect(families.size).toBeGreaterThan(35)
    for (const [name, { samples, type, help }] of families) {
      expect(samples.length, name).toBeGreaterThan(0)
      expect(help, name).toMatch(/\.$/)
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
    }
  })
})

describe(PAGE, () => {
  /** Cells of the rows of all tables. */
  const rows = page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )

  it('has every metric with its type and labels, and no other', () => {
    const listed = rows.map(([name, type, , labels]) => ({
      name: name!.replaceAll('`', ''),
      type,
      labels: [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label!).sort(),
    }))
    const made = [...families].map(([name, family]) => ({
      name,
      type: family.type,
      labels: [...labelsOf(family)].sort(),
    }))
    const byName = (a: { name: string }, b: { name: string }): number => a.name.localeCompare(b.name)
    expect(listed.sort(byName)).toEqual(made.sort(byName))
  })

  it('has a unit that the name bears, and says what to do', () => {
    for (const [name, , unit, , what, when] of rows) {
      const ends = /_(seconds|bytes|ratio|celsius|watts)(_total)?`$/.exec(name!)?.[1]
      if (ends) expect(unit, name).toBe(ends)
      else expect(['count', 'tokens', 'tokens/s'], name).toContain(unit)
      for (const text of [what, when]) expect(text, name).toMatch(/^[A-Z0-9`[].{5,}\.$/)
    }
  })
})

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

describe('deploy/prometheus', () => {
  const rules = (parseYaml(read('deploy/prometheus/alerts.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
    (group) => group.rules,
  )

  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s asks for what there is, and says what to do',
    (_, rule) => {
      check(rule.expr)
      expect(['critical', 'warning', 'info']).toContain(rule.labels['severity'])
      for (const name of ['summary', 'description']) expect(rule.annotations[name], name).toMatch(/\S.{10,}/)
      expect(rule.annotations['runbook_url']).toBe(`${PAGE}#${rule.alert.toLowerCase()}`)
      const used = [...JSON.stringify(rule.annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!)
      for (const label of used) if (!ADDED.has(label)) expect(rule.expr).toContain(label)
    },
  )

  it('has an alert for each section about one, and no other', () => {
    const sections = [...page.matchAll(/^### (\w+)$/gm)].map(([, name]) => name)
    expect(rules.map(({ alert }) => alert)).toEqual(sections)
  })

  it('reads the metrics where they are, and the alerts', () => {
    const config = parseYaml(read('deploy/prometheus/prometheus.yml')) as {
      rule_files: string[]
      scrape_configs: { job_name: string; metrics_path: string }[]
    }
    expect(config.rule_files).toEqual(['alerts.yml'])
    expect(config.scrape_configs).toMatchObject([{ job_name: 'skein', metrics_path: '/metrics' }])
  })
})

describe('deploy/grafana/skein.json', () => {
  interface Panel {
    readonly id: number
    readonly type: string
    readonly title: string
    readonly description?: string
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
  }
  const board = JSON.parse(read('deploy/grafana/skein.json')) as {
    uid: string
    panels: Panel[]
    templating: { list: { name: string; type: string; query: string | { query: string } }[] }
    annotations: { list: { expr: string }[] }
  }
  const variables = board.templating.list.map(({ name }) => name)
  /** With values for what Grafana puts in. */
  const filled = (expr: string): string =>
    expr.replace(/\$__rate_interval/g, '5m').replace(/\$(\w+)/g, (_, name: string) => {
      expect(variables).toContain(name)
      return '.*'
    })
  const graphs = board.panels.filter(({ type }) => type !== 'row')

  it.each(graphs.map((panel) => [`${panel.id} ${panel.title}`, panel] as const))(
    '%s shows what there is',
    (_, panel) => {
      expect(panel.targets!.length).toBeGreaterThan(0)
      expect(panel.description).toMatch(/\.$/)
      for (const { expr, legendFormat } of panel.targets!) {
        check(filled(expr))
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          const labels = askedBy(filled(expr)).selections.flatMap(({ metric }) => [
            ...labelsOf(families.get(metric) ?? families.get(metric.replace(/_bucket$/, ''))!),
          ])
          expect(labels).toContain(label)
        }
      }
    },
  )

  it('shows every metric', () => {
    const all = graphs.flatMap(({ targets }) => targets!.map(({ expr }) => expr)).join('\n')
    for (const name of families.keys()) expect(all, name).toContain(name)
  })

  it('asks for its variables and marks by what there is', () => {
    for (const { type, query } of board.templating.list) {
      if (type !== 'query' || typeof query === 'string') continue
      const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(query.query)!
      expect([...labelsOf(families.get(metric!)!), ...ADDED]).toContain(label)
    }
    for (const { expr } of board.annotations.list) check(expr)
  })

  it('has panels that do not lie upon each other', () => {
    expect(new Set(board.panels.map(({ id }) => id)).size).toBe(board.panels.length)
    const taken = new Set<string>()
    for (const { gridPos, title } of board.panels)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(x, title).toBeLessThan(24)
          expect(taken.has(`${x} ${y}`), title).toBe(false)
          taken.add(`${x} ${y}`)
        }
  })
})

describe('what these tests read expressions with', () => {
  it.each(['sum(', 'rate(skein_tokens_total[5m]', 'skein_nodes{state=}', 'sum by (x (y)', 'a b'])(
    'refuses %s',
    (expression) => {
      expect(() => askedBy(expression)).toThrow(SyntaxError)
    },
  )

  it('finds names and labels', () => {
    expect(askedBy('sum by (le, a) (rate(x_bucket{b="1",c!~"2"}[5m])) / on (d) y > 0')).toEqual({
      selections: [
        { metric: 'x_bucket', labels: ['b', 'c'] },
        { metric: 'y', labels: [] },
      ],
      grouping: ['le', 'a', 'd'],
    })
  })
})

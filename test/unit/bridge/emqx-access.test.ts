/**
 * The access rules for EMQX, held to the form that EMQX writes down for them (its own `acl.conf`), and to what a device and the
 * bridge may reach. No EMQX runs here: what it makes of them is written anew below, by its documentation.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { covers } from '../../../firmware-bridge/doors/topic-filter.ts'
import {
  bridgeTopic,
  claimTopic,
  downTopics,
  messageTopic,
  SUBSCRIPTIONS,
  valueTopic,
} from '../../../firmware-bridge/messages/index.ts'

const read = (file: string): string => readFileSync(new URL(`../../../deploy/emqx/${file}`, import.meta.url), 'utf8')

type Term =
  string | { readonly text: string } | { readonly tuple: readonly Term[] } | { readonly list: readonly Term[] }

/** Erlang terms, each ended by a dot: tuples, lists, texts and atoms, as far as rules have them. */
function termsOf(source: string): Term[] {
  const tokens = source.replaceAll(/^\s*%.*$/gm, '').match(/"[^"\\\n]*"|[a-z_]+|[{}[\],.]|\S/g) ?? []
  const next = (wanted?: string): string => {
    const token = tokens.shift()
    if (token === undefined || (wanted !== undefined && token !== wanted))
      throw new TypeError(`${token} and not ${wanted}`)
    return token
  }
  const until = (end: string): Term[] => {
    const items = [term()]
    while (tokens[0] === ',') {
      next()
      items.push(term())
    }
    next(end)
    return items
  }
  const term = (): Term => {
    const token = next()
    if (token === '{') return { tuple: until('}') }
    if (token === '[') return { list: until(']') }
    if (token.startsWith('"') && token.length > 1) return { text: token.slice(1, -1) }
    if (/^[a-z_]+$/.test(token)) return token
    throw new TypeError(`${token} is no term`)
  }
  const terms: Term[] = []
  while (tokens.length > 0) {
    terms.push(term())
    next('.')
  }
  return terms
}

interface Rule {
  readonly may: boolean
  /** `undefined`: everybody. */
  readonly user?: string
  readonly action?: string
  readonly topics?: readonly string[]
}

const textOf = (term: Term | undefined): string => {
  if (typeof term === 'object' && 'text' in term) return term.text
  throw new TypeError('a text is wanted')
}

/** `rule() :: {perm(), who(), action(), [topic_match()]} | {perm(), all}`. */
function ruleOf(term: Term): Rule {
  if (typeof term !== 'object' || !('tuple' in term)) throw new TypeError('a rule is a tuple')
  const [may, who, action, topics] = term.tuple
  if (may !== 'allow' && may !== 'deny') throw new TypeError('allow or deny')
  if (term.tuple.length === 2 && who === 'all') return { may: may === 'allow' }
  if (term.tuple.length !== 4) throw new TypeError('four members, or two')
  if (action !== 'publish' && action !== 'subscribe' && action !== 'all') throw new TypeError('no action')
  if (typeof topics !== 'object' || !('list' in topics)) throw new TypeError('a list of topics')
  const named = who === 'all' ? {} : { user: userOf(who) }
  return { may: may === 'allow', ...named, action, topics: topics.list.map(textOf) }
}

function userOf(who: Term | undefined): string {
  if (typeof who !== 'object' || !('tuple' in who)) throw new TypeError('no who')
  const [key, name] = who.tuple
  if (key !== 'user' && key !== 'username') throw new TypeError('no user')
  return textOf(name)
}

const rules = termsOf(read('acl.conf')).map(ruleOf)

/** The first rule that fits. */
function may(user: string, action: 'publish' | 'subscribe', topic: string): boolean {
  const fits = (rule: Rule): boolean => {
    const filters = (rule.topics ?? ['#']).map((filter) => filter.replaceAll('${username}', user))
    const isMeant = rule.action === undefined || rule.action === 'all' || rule.action === action
    return (rule.user ?? user) === user && isMeant && filters.some((filter) => covers(filter, topic))
  }
  return rules.find(fits)?.may ?? false
}

describe('the access rules for EMQX', () => {
  it('end with a no to everybody', () => {
    expect(rules.at(-1)).toEqual({ may: false })
    expect(rules).toHaveLength(5)
  })

  it('are refused by this reader in any other form', () => {
    for (const wrong of [
      ...['{allow, all}', '{allow all}.', '{permit, all}.', '{allow, {user, skein}, publish, ["a"]}.'],
      ...['{allow, {host, "a"}, publish, ["a"]}.', '{allow, all, write, ["a"]}.', '{allow, all, publish, "a"}.'],
    ])
      expect(() => termsOf(wrong).map(ruleOf), wrong).toThrow()
  })

  it('let the bridge do its work and no more', () => {
    const own = [
      ...[...SUBSCRIPTIONS, 'homeassistant/status', 'skein/v1/bridge/attic/ha/+/+/set'].map((topic) =>
        may('skein-bridge', 'subscribe', topic),
      ),
      ...[
        messageTopic('a', 'down', 'cmd'),
        claimTopic('c', 'down'),
        bridgeTopic('attic'),
        'homeassistant/device/a/config',
      ].map((topic) => may('skein-bridge', 'publish', topic)),
    ]
    expect(own).not.toContain(false)
    expect([
      may('skein-bridge', 'publish', messageTopic('a', 'up', 'tele')),
      may('skein-bridge', 'subscribe', '#'),
    ]).toEqual([false, false])
  })

  it('let a device reach what is its own, and nothing else', () => {
    expect([
      may('a', 'publish', messageTopic('a', 'up', 'tele')),
      may('a', 'publish', valueTopic('a', 'temperature')),
      may('a', 'subscribe', downTopics('a')),
      may('a', 'subscribe', messageTopic('a', 'down', 'cmd')),
    ]).toEqual([true, true, true, true])
    const foreign = [
      ...[
        messageTopic('b', 'up', 'tele'),
        messageTopic('a', 'down', 'cmd'),
        claimTopic('c', 'up'),
        bridgeTopic('attic'),
        'homeassistant/status',
      ].map((topic) => may('a', 'publish', topic)),
      ...[
        downTopics('b'),
        '#',
        'skein/v1/dev/+/down/#',
        'skein/v1/dev/a/#',
        'skein/v1/dev/b/up/#',
        claimTopic('c', 'down'),
      ].map((topic) => may('a', 'subscribe', topic)),
    ]
    expect(foreign).not.toContain(true)
  })

  it('stand beside settings by which they hold', () => {
    const settings = read('base.hocon').replaceAll(/^\s*#.*$/gm, '')
    for (const setting of [
      ...['no_match = deny', 'use_username_as_clientid = true', 'path = "etc/acl.conf"', 'user_id_type = username'],
      ...['mechanism = password_based', 'backend = built_in_database', 'type = file'],
    ])
      expect(settings).toContain(setting)
    const count = (sign: string): number => settings.split(sign).length
    expect([count('{'), count('[')]).toEqual([count('}'), count(']')])
  })
})

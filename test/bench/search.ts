/**
 * The page's store in a real Chromium: `node test/bench/search.ts`. Fills it with 1,000 chats of 40 messages, whose words are
 * as frequent as those of a language, then measures what a person waits for: the list of chats when the page opens, one
 * chat, and searches of one word, of several, and of what is typed letter by letter.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { build } from 'vite'
import { machine, ms, print, spread } from './stats.ts'

const MESSAGES = 40
const WORDS = 60
const ROUNDS = 15
const { values } = parseArgs({ options: { chats: { type: 'string', default: '1000' } } })
const CHATS = Number(values.chats)
const ENTRY = new URL('../../clients/web/store/index.ts', import.meta.url).pathname

/** Runs in the page: words of a language of its own, frequent as Zipf says, the same in each run. */
const FILL = `async ({ chats, messages, words }) => {
  const { openChatStore } = await import('/store.js')
  let state = 7
  const chance = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32)
  const syllables = ['ka', 'to', 'mi', 'ra', 'ne', 'so', 'lu', 'pe', 'di', 'va', 'gon', 'ster', 'bel', 'chi']
  const word = (n) => { let w = ''; for (let i = n + 14; i > 0; i = Math.floor(i / 14)) w += syllables[i % 14]; return w }
  const text = () => Array.from({ length: words }, () => word(Math.floor(30000 ** chance()))).join(' ')
  const store = await openChatStore()
  globalThis.store = store
  const began = performance.now()
  for (let c = 0; c < chats; c++) {
    const chatId = 'chat' + c
    await store.createChat({ title: word(c) + ' ' + word(c * 7) }, chatId)
    const rows = []
    for (let m = 0; m < messages; m++) {
      const id = chatId + '-' + m
      rows.push({ id, chatId, parentId: m === 0 ? undefined : chatId + '-' + (m - 1), role: m % 2 ? 'assistant' : 'user',
        parts: [{ type: 'text', text: text() + (m === 9 && c % 100 === 5 ? ' quetzal' : '') }], status: 'done', createdAtMs: c * 1000 + m })
    }
    await store.insert(rows)
  }
  const written = performance.now()
  await store.learned()
  return { writtenMs: written - began, learnedMs: performance.now() - written }
}`

/** Runs in the page: how long \`query\` takes, and how much it finds. */
const SEARCH = `async ({ query, rounds }) => {
  const times = []
  let hits = 0
  for (let i = 0; i < rounds; i++) {
    const began = performance.now()
    hits = (await store.search(query)).length
    times.push(performance.now() - began)
  }
  return { times, hits }
}`

const OPEN = `async () => {
  const { openChatStore } = await import('/store.js')
  const began = performance.now()
  globalThis.store = await openChatStore()
  const openedMs = performance.now() - began
  const chats = await store.chats()
  const listedMs = performance.now() - began
  const rows = await store.messages(chats[0].id)
  return { openedMs, listedMs, chatMs: performance.now() - began - listedMs, chats: chats.length, rows: rows.length }
}`

async function served(dir: string): Promise<Server> {
  await build({
    ...{ configFile: false, logLevel: 'error' },
    build: { outDir: dir, minify: true, lib: { entry: ENTRY, formats: ['es'], fileName: () => 'store.js' } },
  })
  const server = createServer((request, response) => {
    const name = request.url?.slice(1) ?? ''
    if (!/^[\w.-]+\.js$/.test(name)) return void response.setHeader('content-type', 'text/html').end('<!doctype html>')
    void readFile(join(dir, name)).then(
      (code) => response.setHeader('content-type', 'text/javascript').end(code),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

const dir = await mkdtemp(join(tmpdir(), 'skein-search-'))
const server = await served(dir)
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const isRoot = process.getuid?.() === 0
const browser = await chromium.launch({ executablePath, args: isRoot ? ['--no-sandbox'] : [] })
try {
  print(machine())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  page.setDefaultTimeout(0)
  const call = <T>(script: string, argument: object = {}): Promise<T> =>
    page.evaluate<T>(`(${script})(${JSON.stringify(argument)})`)
  const filled = await call<{ writtenMs: number; learnedMs: number }>(FILL, {
    ...{ chats: CHATS, messages: MESSAGES, words: WORDS },
  })
  print(
    `${CHATS} chats of ${MESSAGES} messages written in ${ms(filled.writtenMs)}, learned in ${ms(filled.learnedMs)} more`,
  )
  await page.reload()
  const open = await call<{ openedMs: number; listedMs: number; chatMs: number; chats: number; rows: number }>(OPEN)
  print(
    `opened ${ms(open.openedMs)}; ${open.chats} chats listed ${ms(open.listedMs)}; one chat of ${open.rows} ${ms(open.chatMs)}`,
  )
  for (const query of ['quetzal', 'ka', 'tomi', 'kato mira', 'ra ne so', 'chi bel ste', 'toka quetz', 'nothing']) {
    const { times, hits } = await call<{ times: number[]; hits: number }>(SEARCH, { query, rounds: ROUNDS })
    print(`search "${query}": ${hits} hits, ${spread(times)}`)
  }
} finally {
  await browser.close()
  server.close()
  await rm(dir, { recursive: true })
}

/**
 * The page in a real Chromium, beside a real coordinator: `node test/bench/page.ts`. With 1,000 chats on the disk: when something
 * is painted, when letters are, and when one can write, from the service worker's cache; then what a frame costs while an answer of 14 kB
 * comes at 200 tokens a second; then the memory after as many tokens as come in an hour at 20 a second. With `--minutes 60`
 * that alone is measured in real time: answers at 200 tokens a second, one after the other, and the memory each minute; with
 * `--answers 240` as many tokens as that hour has, as fast as they are drawn.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { BrowserContext, CDPSession, Page } from 'playwright-core'
import { build } from 'vite'
import { launchChromium } from '../e2e/harness/chromium.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { machine, median, ms, percentile, print } from './stats.ts'

const CHATS = 1_000
const MESSAGES = 6
const OPENINGS = 9
const ANSWER_TOKENS = 3_000
const ROUNDS = 3
/** Of 3,000 tokens: what comes in an hour at 20 a second. */
const ANSWERS = 24
const { values: given } = parseArgs({
  options: { minutes: { type: 'string', default: '0' }, answers: { type: 'string', default: '0' } },
})
/** Of streaming at 200 tokens a second, and nothing else; 0: the usual measurements. */
const MINUTES = Number(given.minutes)
/** As many answers as fast as they come, and nothing else. */
const IN_A_ROW = Number(given.answers)
const REPORTED_EACH = 20
const STORE = new URL('../../clients/web/store/index.ts', import.meta.url).pathname
const ARGS = [
  ...['up', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off'],
  ...['--model', `echo:fast?tps=200&answer=${ANSWER_TOKENS}&ctx=10000000`],
  ...['--model', `echo:flood?tps=2000&answer=${ANSWER_TOKENS}&ctx=10000000`],
]

/** Runs in the page. */
const FILL = `async ({ chats, messages }) => {
  const store = await StoreOfBench.openChatStore()
  const text = ('The geese fly south in autumn, and come back in spring. ').repeat(12)
  for (let c = 0; c < chats; c++) {
    const chatId = 'chat' + c
    await store.createChat({ title: 'A chat about geese, number ' + c, model: 'fast' }, chatId)
    await store.insert(Array.from({ length: messages }, (_, m) => ({
      id: chatId + '-' + m, chatId, parentId: m === 0 ? undefined : chatId + '-' + (m - 1), role: m % 2 ? 'assistant' : 'user',
      parts: [{ type: 'text', text }], status: 'done', createdAtMs: 1.7e12 + c * 1000 + m,
    })))
  }
  await store.learned()
  store.close()
}`

/** Runs in the page before anything of it: notes when one can write, and when the list of chats is there. */
const WATCH = `(() => {
  const seen = (globalThis.seenAtMs = {})
  const look = () => {
    const box = document.querySelector('.chats-input')
    if (box && !box.disabled) seen.box ??= performance.now()
    if (document.querySelectorAll('.chats-link').length > 5) seen.list ??= performance.now()
    if (seen.box === undefined || seen.list === undefined) requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()`

interface Opened {
  /** First paint: the frame. */
  readonly framed: number
  /** First paint of letters: the frame's name. */
  readonly painted: number
  readonly box: number
  readonly list: number
}

async function opened(context: BrowserContext, url: string): Promise<Opened> {
  const page = await context.newPage()
  await page.addInitScript(WATCH)
  await page.goto(url)
  await page.locator('.chats-link').nth(6).waitFor()
  await page.locator('.chats-input').waitFor()
  await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))')
  const found = await page.evaluate<Opened>(`({
    framed: performance.getEntriesByName('first-paint')[0].startTime,
    painted: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    box: seenAtMs.box, list: seenAtMs.list,
  })`)
  await page.close()
  return found
}

/** 14 kB as models write them: headings, lists, code, tables and prose. */
function longText(): string {
  const section = (n: number): string =>
    [
      `## Part ${n}`,
      '',
      `The **${n}th** flock of geese flies *south*, over \`lake_${n}\`, and [its way](https://example.org/${n}) is long.`.repeat(
        2,
      ),
      '',
      `1. first they gather at the shore\n2. then they rise, one after the other\n   - the old ones in front\n   - the young ones behind`,
      '',
      '| flock | geese |\n|---|--:|\n| north | 41 |\n| south | 22 |',
      '',
      `\`\`\`ts\nexport function fly(geese: number): number {\n  // each one counts\n  return geese * ${n}\n}\n\`\`\``,
      '',
    ].join('\n')
  let text = ''
  for (let n = 1; text.length < 14_000; n++) text += `${section(n)}\n`
  return text
}

async function ask(page: Page, text: string, model: string): Promise<void> {
  await page.goto(new URL('/', page.url()).href)
  await page.locator('.chats-model').click()
  await page.getByRole('menuitemradio', { name: model }).click()
  await say(page, text)
}

/** Put into the box and not typed: Chromium keeps the nodes of what can be undone, some 1,500 for each text of 14 kB. */
async function say(page: Page, text: string): Promise<void> {
  const box = page.getByRole('textbox', { name: 'Message', exact: true })
  await box.evaluate((area, value) => {
    ;(area as HTMLTextAreaElement).value = value
    area.dispatchEvent(new Event('input', { bubbles: true }))
  }, text)
  await box.press('Enter')
}

/** Each that has ended can be asked for again. */
async function untilAnswers(page: Page, count: number): Promise<void> {
  const again = page.locator('article[aria-label="Answer"] .chats-tools')
  await again.nth(count - 1).waitFor({ timeout: 240_000, state: 'attached' })
}

interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  readonly tdur?: number
}

/** Of the page's main thread, in ms: what ran from each frame to the next, of the processor's time, and how far frames were apart. */
async function framesOf(
  session: CDPSession,
  run: () => Promise<void>,
): Promise<{ busyMs: number[]; apartMs: number[] }> {
  const events: TraceEvent[] = []
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as TraceEvent[])))
  const ended = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve))
  await session.send('Tracing.start', { categories: 'toplevel,devtools.timeline', transferMode: 'ReportEvents' })
  await run()
  await session.send('Tracing.end')
  await ended
  const beginnings = events.filter(({ name }) => name === 'FireAnimationFrame').sort((a, b) => a.ts - b.ts)
  const { pid, tid } = beginnings[0]!
  const tasks = events.filter((event) => event.pid === pid && event.tid === tid && event.name.endsWith('RunTask'))
  const busy = beginnings.map(() => 0)
  for (const { ts, tdur = 0 } of tasks) {
    const frame = beginnings.findLastIndex((beginning) => beginning.ts <= ts)
    if (frame !== -1) busy[frame]! += tdur / 1000
  }
  const apart = beginnings.slice(1).map(({ ts }, index) => (ts - beginnings[index]!.ts) / 1000)
  return { busyMs: busy.slice(0, -1), apartMs: apart }
}

async function heapMiB(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage')
  const { usedSize } = await session.send('Runtime.getHeapUsage')
  return usedSize / 2 ** 20
}

const p95 = (values: readonly number[]): string =>
  `p50 ${ms(median(values))}, p95 ${ms(percentile(values, 0.95))} (n ${values.length})`

async function openings(context: BrowserContext, page: Page, origin: string, store: string): Promise<void> {
  await page.evaluate(`(() => { ${store}; globalThis.StoreOfBench = StoreOfBench })()`)
  await page.evaluate(`(${FILL})(${JSON.stringify({ chats: CHATS, messages: MESSAGES })})`)
  await page.evaluate('navigator.serviceWorker.ready.then(() => undefined)')
  for (const [what, path] of [
    ['a new chat', '/'],
    ['one of the chats', '/chat/chat500'],
  ] as const) {
    await opened(context, origin + path)
    const all: Opened[] = []
    for (let i = 0; i < OPENINGS; i++) all.push(await opened(context, origin + path))
    const of = (name: keyof Opened): string => ms(median(all.map((one) => one[name])))
    print(
      `${what}, ${CHATS} chats: frame ${of('framed')}, name ${of('painted')}, one can write ${of('box')}, list ${of('list')} (n ${OPENINGS})`,
    )
  }
}

async function streaming(page: Page, session: CDPSession, round: number): Promise<void> {
  const text = longText()
  await ask(page, text, 'fast')
  // putting 14 kB into the box, which no streaming does, is over by the first words
  await page.locator('.chats-answer .markdown').first().waitFor()
  const { busyMs, apartMs } = await framesOf(session, () => untilAnswers(page, 1))
  print(
    `round ${round}: ${ANSWER_TOKENS} tokens of ${text.length} characters at 200/s: a frame costs ${p95(busyMs)}; apart ${p95(apartMs)}`,
  )
}

async function anHour(page: Page, session: CDPSession): Promise<void> {
  await ask(page, longText(), 'flood')
  for (let answers = 1; ; answers++) {
    await untilAnswers(page, answers)
    if (answers % 6 === 0 || answers === 1) {
      const { nodes } = await session.send('Memory.getDOMCounters')
      print(
        `after ${answers * ANSWER_TOKENS} tokens: heap ${(await heapMiB(session)).toFixed(1)} MiB, ${nodes} nodes of the document`,
      )
    }
    if (answers === ANSWERS) return
    await say(page, longText())
  }
}

/** An answer in a new chat each time, without another load of the page: what it still holds then is what it leaks. */
async function oneAfterTheOther(page: Page, session: CDPSession): Promise<void> {
  const beganMs = performance.now()
  let reports = 0
  await ask(page, longText(), MINUTES > 0 ? 'fast' : 'flood')
  for (let answers = 1; ; answers++) {
    await untilAnswers(page, 1)
    const sinceMs = performance.now() - beganMs
    if (MINUTES > 0 ? sinceMs >= reports * 60_000 : answers === 1 || answers % REPORTED_EACH === 0) {
      reports++
      // collects garbage, of which the counters would count the documents' share
      const heap = (await heapMiB(session)).toFixed(1)
      const { nodes, jsEventListeners } = await session.send('Memory.getDOMCounters')
      print(
        `${(sinceMs / 60_000).toFixed(1)} min, ${answers} answers: heap ${heap} MiB, ${nodes} nodes, ${jsEventListeners} listeners`,
      )
    }
    if (MINUTES > 0 ? reports >= MINUTES : answers >= IN_A_ROW) return
    await page.getByRole('button', { name: 'New chat' }).first().click()
    await page.locator('article[aria-label="Answer"]').first().waitFor({ state: 'detached' })
    await say(page, longText())
  }
}

const dir = await mkdtemp(join(tmpdir(), 'skein-page-'))
await build({
  ...{ configFile: false, logLevel: 'error' },
  build: {
    outDir: dir,
    minify: true,
    lib: { entry: STORE, formats: ['iife'], name: 'StoreOfBench', fileName: () => 'store.js' },
  },
})
const up = await SkeinProcess.start({ args: ARGS, readyMs: 60_000 })
const browser = await launchChromium()
try {
  print(machine())
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB' })
  context.setDefaultTimeout(60_000)
  const store = await readFile(join(dir, 'store.js'), 'utf8')
  const page = await context.newPage()
  await page.goto(up.http)
  await page.getByRole('textbox', { name: 'Message', exact: true }).waitFor()
  const session = await context.newCDPSession(page)
  if (MINUTES > 0 || IN_A_ROW > 0) await oneAfterTheOther(page, session)
  else {
    await openings(context, page, up.http, store)
    for (let round = 1; round <= ROUNDS; round++) await streaming(page, session, round)
    await anHour(page, session)
  }
} finally {
  await browser.close()
  await up.stop('SIGKILL')
  await rm(dir, { recursive: true })
}

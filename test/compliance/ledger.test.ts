import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryLedger, openLedger, type Ledger } from '../../coordinator/ledger/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { ledgerSuite } from './ledger.suite.ts'

const clock = new SystemClock(true)
const components = { clock, log: silentLogger }

ledgerSuite('SQLite', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'skein-ledger-'))
  const path = (name: string): string => join(directory, name)
  let opened: Ledger
  return {
    open: async () => (opened = await openLedger(components, { path: path('ledger.db') })),
    // a crash of the process is tested with a process (test/integration/ledger-crash.test.ts)
    crash: () => opened.close(),
    openBackup: (name) => openLedger(components, { path: path(name) }),
    path,
    bytes: async () => {
      const files = (await readdir(directory)).filter((name) => name.startsWith('ledger.db'))
      return Buffer.concat(await Promise.all(files.map((name) => readFile(path(name)))))
    },
    remove: () => rm(directory, { recursive: true }),
  }
})

ledgerSuite('in memory', () => {
  let ledger: MemoryLedger | undefined
  const encoder = new TextEncoder()
  return Promise.resolve({
    open: () => Promise.resolve((ledger = ledger?.reopen() ?? new MemoryLedger({ clock }, { commitMs: 1 }))),
    crash: () => Promise.resolve(ledger!.crash()),
    openBackup: (name) => Promise.resolve(ledger!.openBackup(name)),
    path: (name) => name,
    bytes: () => Promise.resolve(encoder.encode(JSON.stringify(ledger!.durableEvents))),
    remove: () => Promise.resolve(),
  })
})

/** Chats on this device: how many, as a file out, from files in. */
import { useEffect, useState } from 'preact/hooks'
import { pickFiles, saveFile } from '../platform/index.ts'
import {
  exportJsonl,
  importChats,
  StoreError,
  type ImportReport,
  type LocalStore,
  type StorageHealth,
} from '../store/index.ts'
import { Button, Card, Notice, Pairs, Section, Spinner } from '../ui/index.ts'
import { format, words } from '../words/index.ts'

type Work =
  | { readonly kind: 'none' }
  | { readonly kind: 'busy'; readonly chats: number; readonly stop: () => void }
  | { readonly kind: 'exported'; readonly bytes: number }
  | { readonly kind: 'imported'; readonly report: ImportReport }
  | { readonly kind: 'failed'; readonly text: string }

const ACCEPT = '.jsonl,.json,application/json'

const countOf = (what: 'chats' | 'messages', n: number): string => words.value.sync[what](n, format.number(n))

/** The section of `/settings`. */
export function FilesPanel({ store }: { readonly store: LocalStore }) {
  const { sync: say } = words.value
  const [work, setWork] = useState<Work>({ kind: 'none' })
  return (
    <Section title={say.files} description={say.filesAbout}>
      <Card>
        <div class="sync-stack">
          <Kept store={store} work={work} />
          <div class="sync-actions">
            <Button icon="download" disabled={work.kind === 'busy'} onClick={() => void exportAll(store, setWork)}>
              {say.exportAll}
            </Button>
            <Button icon="upload" disabled={work.kind === 'busy'} onClick={() => void importFiles(store, setWork)}>
              {say.importFile}
            </Button>
          </div>
          <p class="sync-muted">{say.importHint}</p>
          <div role="status">
            <Told work={work} />
          </div>
        </div>
      </Card>
    </Section>
  )
}

function Kept({ store, work }: { readonly store: LocalStore; readonly work: Work }) {
  const { sync: say } = words.value
  const [health, setHealth] = useState<StorageHealth>()
  const look = (): void => void store.health().then(setHealth, () => undefined)
  useEffect(look, [store, work.kind])
  useEffect(() => store.onFull(look), [store])
  if (health === undefined) return null
  const counts = format.list([countOf('chats', health.chats), countOf('messages', health.messages)])
  return (
    <>
      {health.fullSinceMs !== undefined && (
        <Notice tone="danger" title={say.fullTitle}>
          {say.full}
        </Notice>
      )}
      <Pairs pairs={[[say.counts, counts]]} />
      {health.unindexed > 0 && <p class="sync-muted">{say.indexing(countOf('messages', health.unindexed))}</p>}
    </>
  )
}

function Told({ work }: { readonly work: Work }) {
  const { sync: say } = words.value
  if (work.kind === 'busy') {
    return (
      <div class="sync-actions">
        <Spinner /> {say.importing(countOf('chats', work.chats))}
        <Button size="s" onClick={work.stop}>
          {say.cancel}
        </Button>
      </div>
    )
  }
  if (work.kind === 'exported') return <Notice tone="good">{say.exported(format.bytes(work.bytes))}</Notice>
  if (work.kind === 'failed') return <Notice tone="danger">{work.text}</Notice>
  return work.kind === 'imported' ? <Report report={work.report} /> : null
}

function Report({ report: { chats, messages, known, left } }: { readonly report: ImportReport }) {
  const { sync: say } = words.value
  return (
    <div class="sync-stack">
      <Notice tone="good">
        {say.imported(countOf('chats', chats), countOf('messages', messages))}
        {known > 0 && ` ${say.known(countOf('messages', known))}`}
      </Notice>
      {left.length > 0 && (
        <Notice tone="warning" title={say.leftTitle}>
          <ul class="sync-left">
            {left.map(({ reason, count, examples }) => (
              <li key={reason}>
                {say.leftLine(
                  format.number(count),
                  say.left[reason],
                  examples.map((each) => each || say.untitled).join(', '),
                )}
              </li>
            ))}
          </ul>
        </Notice>
      )}
    </div>
  )
}

type Show = (work: Work) => void

async function exportAll(store: LocalStore, show: Show): Promise<void> {
  const file = await exportJsonl(store)
  const day = new Date(store.clock.nowMs()).toISOString().slice(0, 10)
  saveFile(`skein-chats-${day}.jsonl`, file)
  show({ kind: 'exported', bytes: file.size })
}

async function importFiles(store: LocalStore, show: Show): Promise<void> {
  const [file] = await pickFiles({ accept: ACCEPT })
  if (file === undefined) return
  const stopping = new AbortController()
  const stop = (): void => stopping.abort()
  const onProgress = (chats: number): void => show({ kind: 'busy', chats, stop })
  onProgress(0)
  try {
    show({ kind: 'imported', report: await importChats(store, file, { signal: stopping.signal, onProgress }) })
  } catch (error) {
    const { sync: say } = words.peek()
    if (stopping.signal.aborted) show({ kind: 'none' })
    else {
      const isFull = error instanceof StoreError && error.code === 'full'
      show({ kind: 'failed', text: isFull ? say.importFull : say.importFailed })
    }
  }
}

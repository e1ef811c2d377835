/** The rows of the page (`clients/web`) in the table of `rules.ts`. */
import type { PackageFence, ZoneRule } from './rules.ts'

export const WEB_ZONES: readonly ZoneRule[] = [
  {
    folder: 'clients/web/platform',
    imports: [],
    reason: 'What the page takes of its browser, as ports: nothing of the product is in it.',
  },
  {
    folder: 'clients/web/ui',
    imports: ['clients/web/platform'],
    reason: 'Components know nothing of the product: its words and data come in as properties.',
  },
  { folder: 'clients/web/words', imports: [], reason: 'Words are read by all, and know nobody.' },
  {
    folder: 'clients/web/worker',
    imports: [],
    reason: 'It runs without a page, is one file, and keeps the files of the page alone.',
  },
  {
    folder: 'clients/web/store',
    imports: ['mesh/protocol', 'clients/sdk', 'clients/web/platform'],
    reason: 'It keeps chats on the device; who shows them, and who answers, it does not know.',
  },
  {
    folder: 'clients/web/sync',
    imports: [
      ...['mesh/protocol', 'clients/sdk', 'clients/web/platform', 'clients/web/store'],
      ...['clients/web/ui', 'clients/web/words'],
    ],
    reason: 'It carries operations of the store between devices; a coordinator sees them sealed.',
  },
  {
    folder: 'clients/web/markdown',
    imports: ['clients/web/platform', 'clients/web/ui', 'clients/web/words'],
    reason: 'Text of models becomes elements; where the text is from, it does not know.',
  },
  {
    folder: 'clients/web/answers',
    imports: ['mesh/protocol', 'clients/sdk', 'clients/web/platform', 'clients/web/store'],
    reason: 'It asks and keeps what comes; how it looks is not its matter.',
  },
  {
    folder: 'clients/web/chats',
    imports: [
      ...['mesh/protocol', 'clients/sdk', 'clients/web/platform', 'clients/web/ui', 'clients/web/words'],
      ...['clients/web/store', 'clients/web/answers', 'clients/web/markdown'],
    ],
    reason: 'The pages of chats: the coordinator is a port to them.',
  },
  {
    folder: 'clients/web/mesh',
    imports: ['mesh/protocol', 'clients/sdk', 'clients/web/platform', 'clients/web/ui', 'clients/web/words'],
    reason: 'The pages of the mesh are loaded when they are gone to: they bring nothing of the chats along.',
  },
  {
    folder: 'clients/web/house',
    imports: ['mesh/protocol', 'clients/sdk', 'clients/web/platform', 'clients/web/ui', 'clients/web/words'],
    reason: 'The pages of devices, cost and access are loaded when they are gone to.',
  },
  {
    folder: 'clients/web/app',
    imports: ['clients/sdk', 'clients/web/platform', 'clients/web/ui', 'clients/web/words'],
    reason: 'The frame knows no page: each comes in as one.',
  },
  {
    folder: 'clients/web',
    imports: [
      ...['clients/sdk', 'clients/web/platform', 'clients/web/ui', 'clients/web/words', 'clients/web/app'],
      ...['clients/web/store', 'clients/web/sync', 'clients/web/answers', 'clients/web/chats', 'clients/web/mesh'],
      'clients/web/house',
      'clients/web/markdown',
    ],
    reason: 'Puts the page together.',
  },
]

/** Folders of the page that are made of components. */
const WEB_PAGES = [
  'clients/web',
  ...['ui', 'app', 'chats', 'markdown', 'mesh', 'house', 'sync'].map((name) => `clients/web/${name}`),
]

export const WEB_FENCES: readonly PackageFence[] = [
  {
    packages: ['preact'],
    allowedIn: WEB_PAGES,
    reason: 'Pages are made of components; what they show is kept, asked for and carried without them.',
  },
  {
    packages: ['@preact/'],
    allowedIn: [...WEB_PAGES, ...['words', 'answers', 'store'].map((name) => `clients/web/${name}`)],
    reason: 'Values that the page follows; nothing outside of it does.',
  },
  { packages: ['dexie'], allowedIn: ['clients/web/store'], reason: 'What the browser keeps is behind the store.' },
  {
    packages: ['markdown-it', 'highlight.js', 'temml'],
    allowedIn: ['clients/web/markdown'],
    reason: 'What models write becomes elements in one place, which makes no HTML.',
  },
  {
    packages: ['uplot'],
    allowedIn: ['clients/web/mesh', 'clients/web/house'],
    reason: 'Charts are on pages that are loaded when they are gone to.',
  },
  { packages: ['uqr'], allowedIn: ['clients/web/ui'], reason: 'One component draws codes.' },
]

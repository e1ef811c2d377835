/**
 * `npm run bench [NAME…]`: runs the benchmarks, one after the other so that they do not disturb each other. One benchmark may
 * be given options of its own, behind `--` because npm takes others for itself: `npm run bench transfer -- --mib 128`.
 */
import { runNode } from './tools.ts'

/** What each measures, and its options. */
const BENCHES: Readonly<
  Record<string, { readonly what: string; readonly options?: Readonly<Record<string, string>> }>
> = {
  scheduler: { what: 'the time of one plan' },
  fleet: { what: 'the scheduler against simpler policies, in a simulated fleet' },
  engine: {
    what: "the llama engine, also against llama.cpp's own server",
    options: {
      model: 'm135 | b1',
      threads: 'N',
      tokens: 'N (64)',
      rounds: 'N (5)',
      server: "PATH of llama.cpp's server",
    },
  },
  'kv-state': {
    what: 'states of conversations in files against prefilling',
    options: { model: 'm135 | b1', threads: 'N', tokens: 'LIST (256,1024,2048)', dir: 'where the files go' },
  },
  exactness: { what: 'how often answers continue equally', options: { prompts: 'N (200)' } },
  mesh: { what: 'what the mesh adds to an answer' },
  cache: { what: 'answers that are given again' },
  ledger: { what: 'commits, on this disk', options: { dir: 'on which disk' } },
  transfer: {
    what: 'models between members',
    options: { mib: 'MEBIBYTES (256)', part: 'rates | rhythm (both)' },
  },
  line: { what: 'walks of a full waiting line' },
  page: { what: 'the page in a browser: its first paint, its frames while an answer comes, its memory' },
  search: { what: 'the chats of the page, listed and searched in a browser', options: { chats: 'N (1000)' } },
  devices: {
    what: 'what the bridge adds to a broker, under a thousand devices',
    options: { seconds: 'N (300)', devices: 'N (1000)', asking: 'N (50)' },
  },
  migration: {
    what: 'what a move costs the client',
    options: { trials: 'N (50)', faults: 'LIST', models: 'LIST' },
  },
}
/** When none is named; the others take long, or are for who works on that part. */
const USUAL = Object.keys(BENCHES).filter((name) => !['line', 'page', 'search', 'migration', 'devices'].includes(name))

const list = (): string =>
  Object.entries(BENCHES)
    .map(([name, { what, options = {} }]) =>
      [
        `  ${name.padEnd(10)} ${what}`,
        ...Object.entries(options).map(([option, is]) => `      --${option} ${is}`),
      ].join('\n'),
    )
    .join('\n')

function refuse(why: string): never {
  process.stderr.write(`${why}\n\nnpm run bench [NAME…], npm run bench NAME -- OPTIONS\n${list()}\n`)
  process.exit(2)
}

const args = process.argv.slice(2)
if (args.includes('--help') || args.includes('-h')) {
  process.stdout.write(`npm run bench [NAME…], npm run bench NAME -- OPTIONS\n${list()}\n`)
  process.exit(0)
}
const firstOption = args.findIndex((argument) => argument.startsWith('-'))
const names = firstOption === -1 ? args : args.slice(0, firstOption)
const options = firstOption === -1 ? [] : args.slice(firstOption)
for (const name of names) if (!Object.hasOwn(BENCHES, name)) refuse(`no benchmark is named ${name}`)
if (options.length > 0) {
  const [name = '', ...others] = names
  if (name === '' || others.length > 0) refuse('options are for one benchmark')
  const known = Object.keys(BENCHES[name]!.options ?? {})
  for (const option of options.filter((each) => each.startsWith('-')))
    if (!known.some((each) => option === `--${each}` || option.startsWith(`--${each}=`)))
      refuse(`${name} has no option ${option}`)
}
for (const name of names.length > 0 ? names : USUAL) {
  const code = runNode(`test/bench/${name}.ts`, options)
  if (code !== 0) process.exit(code)
}

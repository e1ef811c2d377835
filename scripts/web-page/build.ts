/** Builds the page with vite into a folder: hashed assets, the service worker with the list of what it keeps, and a stamp. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Plugin, Rolldown } from 'vite'
import { ROOT } from '../tools.ts'
import { PAGE_FOLDER, STAMP, type Stamp } from './sources.ts'

/** Browsers of spring 2024 on, which is when the last of them learned `light-dark()`. */
const BROWSERS = ['chrome123', 'edge123', 'firefox124', 'safari17.5']
/** They do nothing but define. `index.ts` of the components brings their styles. */
const PURE = /[\\/]clients[\\/](sdk|web[\\/](ui|store|answers|platform))[\\/](?!index\.)[\w-]+\.tsx?$/
const BUILD_MODULE = 'virtual:skein-build'
const WORKER = 'sw.js'
/** In the source of the worker, as a string. */
const KEPT_MARK = '__SKEIN_KEPT__'

/** @throws what vite says of a page that does not build. */
export async function buildPage(target: string, digest: string): Promise<Stamp> {
  // loaded here, so that a page that is fresh costs nothing
  const { build } = await import('vite')
  await build({
    configFile: false,
    root: PAGE_FOLDER,
    logLevel: 'warn',
    clearScreen: false,
    plugins: [buildModule(digest), keptList(digest)],
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: target,
      emptyOutDir: true,
      target: BROWSERS,
      // no `data:` in scripts or styles: what the page loads are files that can be kept and named
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      chunkSizeWarningLimit: 1000,
      rolldownOptions: {
        checks: { bundlerTimings: false },
        // what the first page does not use comes with the pages that do
        treeshake: { moduleSideEffects: [{ test: PURE, sideEffects: false }] },
        input: { main: join(PAGE_FOLDER, 'index.html'), sw: join(PAGE_FOLDER, 'worker', 'main.ts') },
        output: {
          entryFileNames: ({ name }) => (name === 'sw' ? WORKER : 'assets/[name]-[hash].js'),
          chunkFileNames: 'assets/[name]-[hash].js',
          assetFileNames: 'assets/[name]-[hash][extname]',
        },
      },
    },
  })
  const stamp = stampOf(target, digest)
  writeFileSync(join(target, STAMP), `${JSON.stringify(stamp, null, 2)}\n`)
  return stamp
}

/** `virtual:skein-build`: which page this is. */
function buildModule(digest: string): Plugin {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  return {
    name: 'skein-build',
    resolveId: (id) => (id === BUILD_MODULE ? `\0${BUILD_MODULE}` : undefined),
    load: (id) =>
      id === `\0${BUILD_MODULE}`
        ? `export const digest = ${JSON.stringify(digest)}\nexport const version = ${JSON.stringify(version)}`
        : undefined,
  }
}

/** Gives the service worker the list of files that the page opens from without network, which is known last. */
function keptList(digest: string): Plugin {
  return {
    name: 'skein-kept',
    enforce: 'post',
    generateBundle: {
      order: 'post',
      handler(_options, bundle: Rolldown.OutputBundle) {
        const built = Object.keys(bundle).filter((name) => name !== WORKER)
        const files = [...built, ...readdirSync(join(PAGE_FOLDER, 'public'))].map((name) => `/${name}`).sort()
        const worker = bundle[WORKER]
        if (worker?.type !== 'chunk' || !worker.code.includes(KEPT_MARK)) this.error(`${WORKER} has no ${KEPT_MARK}`)
        const list = JSON.stringify({ digest, files })
        if (/['"`\\]/.test(list.replaceAll('"', ''))) this.error('a name of a file that does not fit into a string')
        worker.code = worker.code.replace(KEPT_MARK, list.replaceAll('"', '\\"'))
      },
    },
  }
}

function stampOf(target: string, digest: string): Stamp {
  const names = readdirSync(target, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(target.length).replaceAll('\\', '/'))
    .sort()
  const files = Object.fromEntries(names.map((name) => [name, gzipSync(readFileSync(join(target, name))).length]))
  const page = readFileSync(join(target, 'index.html'), 'utf8')
  const initial = names.filter((name) => page.includes(`"${name}"`) && /\.(js|css)$/.test(name))
  const sum = (list: readonly string[]): number => list.reduce((total, name) => total + files[name]!, 0)
  return { digest, initialGzipBytes: sum(initial), totalGzipBytes: sum(names), files }
}

/**
 * Has the page of a clone built beside the program that starts, when something in it is newer than what was built. Looks at
 * times alone, which takes 2 ms; `scripts/web.ts` looks at contents. An installed package brings its page along.
 */
'use strict'
const { spawn } = require('node:child_process')
const { existsSync, readdirSync, statSync } = require('node:fs')
const { join } = require('node:path')
const { isInstalledPackage } = require('./install.cjs')
const { root } = require('./runtime.cjs')

const BUILDER = join(root, 'scripts', 'web.ts')
const STAMP = join(root, 'dist', 'web', 'skein-web.json')
/** As in `scripts/web-page/sources.ts`. */
const SOURCES = [
  'clients/web',
  'clients/sdk',
  'mesh/protocol',
  'scripts/web.ts',
  'scripts/web-page',
  'package-lock.json',
]

/** Whether `path`, or anything in it, was changed after `timeMs`. */
function isNewer(path, timeMs) {
  const stat = statSync(path)
  if (stat.mtimeMs > timeMs) return true
  return stat.isDirectory() && readdirSync(path).some((name) => isNewer(join(path, name), timeMs))
}

function isStale() {
  try {
    const builtMs = statSync(STAMP).mtimeMs
    return SOURCES.some((source) => isNewer(join(root, source), builtMs))
  } catch {
    return true // nothing is built yet
  }
}

/** Starts the build, where one is needed. It ends by itself, also when this process ends before. */
function buildPageBeside() {
  if (isInstalledPackage() || !existsSync(BUILDER) || !isStale()) return
  const env = { ...process.env, NODE_OPTIONS: '' }
  const child = spawn(process.execPath, [BUILDER, '--quiet'], {
    cwd: root,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  child.on('error', () => {}) // the page tells what is missing, and `npm run build:web` why
  child.unref()
}

module.exports = { buildPageBeside }

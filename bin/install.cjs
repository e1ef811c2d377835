/**
 * Installs the dependencies of a clone, when they are missing or older than `package-lock.json`. Does nothing in an
 * installed package, which has no lock file. Plain CommonJS in the syntax of Node 18.
 */
'use strict'
const { spawnSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const { existsSync, readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { bundledNode, fail, isRightNode, NODE_MAJOR, root } = require('./runtime.cjs')

const LOCK = join(root, 'package-lock.json')
/** What npm writes after an install: the packages that it put there. */
const INSTALLED = join(root, 'node_modules', '.package-lock.json')
/** SHA-256 of the lock file that was installed last. npm removes it with the folder. */
const MARKER = join(root, 'node_modules', '.skein-installed')

const isInstalledPackage = () => /[\\/]node_modules[\\/]/.test(__filename)

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** True when npm has installed every package of the lock that this machine needs, however npm was called. */
function matches(lock) {
  const installed = read(INSTALLED)
  if (installed === undefined) return false
  const found = JSON.parse(installed).packages
  return Object.entries(JSON.parse(lock).packages).every(([path, wanted]) => {
    // packages for other systems are in the lock and not installed
    if (path === '' || wanted.optional || wanted.peer) return true
    return found[path] !== undefined && found[path].version === wanted.version
  })
}

function npm(args) {
  // npm tells its children where it is; on Windows its command is a script, which only a shell can run
  const script = process.env.npm_execpath
  const [command, first] = script && /npm-cli\.c?js$/.test(script) ? [process.execPath, [script]] : ['npm', []]
  const result = spawnSync(command, [...first, ...args], {
    cwd: root,
    // stdout is the program's answer: what npm says goes to stderr
    stdio: ['ignore', 2, 2],
    shell: command === 'npm' && process.platform === 'win32',
  })
  if (result.error !== undefined) fail(`cannot run npm (${result.error.message}); it comes with Node.js`)
  if (result.status !== 0)
    fail(`npm ${args[0]} failed (${result.status ?? result.signal}); its messages are above. Run \`npm ci\` in ${root}`)
}

/** Makes sure that dependencies are there and the pinned Node can run. Ends the process with a message when not. */
function ensureInstalled() {
  if (existsSync(LOCK) && !isInstalledPackage()) {
    const lock = read(LOCK)
    const digest = createHash('sha256').update(lock).digest('hex')
    if (read(MARKER) !== digest) {
      if (!matches(lock)) {
        process.stderr.write('skein: installing dependencies (once; needs the network)\n')
        npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'])
      }
      writeFileSync(MARKER, digest)
    }
    // a configuration with `ignore-scripts` leaves the package without its binary
    if (!isRightNode() && bundledNode() === undefined) npm(['rebuild', 'node', '--ignore-scripts=false'])
  }
  if (isRightNode() || bundledNode() !== undefined) return
  fail(
    `Skein runs on Node.js ${NODE_MAJOR}; this is ${process.version}, and the one that npm brings is missing because its ` +
      `install script did not run. Install Node.js ${NODE_MAJOR}, or install again with ` +
      '`npm install --allow-scripts=node`',
  )
}

module.exports = { ensureInstalled, isInstalledPackage }

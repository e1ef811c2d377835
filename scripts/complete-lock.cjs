/**
 * `node scripts/complete-lock.cjs`, after every change of dependencies: adds optional packages for other systems that
 * npm left out of `package-lock.json`, and takes away the marks of install scripts that must not run.
 *
 * npm writes only what the registry at hand offers, and a mirror may lack packages for systems that nobody uses there;
 * yet `npm ci` refuses a lock that does not name them all. An entry without hash is enough: where its system matches it
 * is fetched by name and version, elsewhere it is skipped.
 *
 * Of a package that the lock does not mark as having an install script, `npm ci` runs none, whatever npm's version; npm
 * knows `allowScripts` of `package.json` from version 11 on.
 */
'use strict'
const { readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

const LOCK = join(__dirname, '..', 'package-lock.json')
/** The script of onnxruntime-node fetches CUDA libraries of hundreds of megabytes, from elsewhere. */
const WITHOUT_SCRIPT = ['node_modules/onnxruntime-node']
const OS = { linux: 'linux', mac: 'darwin', win: 'win32' }

/** `@node-llama-cpp/mac-arm64-metal` → darwin, arm64. */
function platformOf(name) {
  const [system, cpu] = name.split('/')[1].split('-')
  return { os: [OS[system]], cpu: [cpu] }
}

const lock = JSON.parse(readFileSync(LOCK, 'utf8'))
const added = []
for (const { optionalDependencies = {} } of Object.values(lock.packages))
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const path = `node_modules/${name}`
    if (!name.startsWith('@node-llama-cpp/') || lock.packages[path] !== undefined) continue
    lock.packages[path] = { version, license: 'MIT', optional: true, ...platformOf(name) }
    added.push(name)
  }
const unmarked = WITHOUT_SCRIPT.filter((path) => lock.packages[path]?.hasInstallScript)
for (const path of unmarked) delete lock.packages[path].hasInstallScript
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
if (added.length + unmarked.length > 0) writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added.length} packages added to the lock ${added.join(' ')}\n`)
process.stdout.write(`${unmarked.length} install scripts taken out ${unmarked.join(' ')}\n`)

/**
 * Finds the Node.js that Skein runs on, and runs programs under it. Plain CommonJS in the syntax of Node 18, because it
 * is what runs *before* the right Node does. Shared by `bin/skein` and the npm scripts.
 *
 * The right Node is npm's package `node`, pinned in `package.json`: a machine keeps the Node.js that it has.
 */
'use strict'
const { spawn } = require('node:child_process')
const { existsSync } = require('node:fs')
const { constants } = require('node:os')
const { dirname, join } = require('node:path')

/** Oldest major that runs our TypeScript as source and has all that libp2p calls. */
const NODE_MAJOR = 24
const REPEATED_SIGNAL_MS = 250
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP']
/** Tells the second process that the first one launched it, and follows it by the IPC channel. */
const LAUNCHED = 'SKEIN_LAUNCHED'

const root = join(__dirname, '..')
const isRightNode = () => Number(process.versions.node.split('.')[0]) >= NODE_MAJOR

/** Path of the `node` package's binary, ours or hoisted beside us into a parent's `node_modules`, or `undefined`. */
function bundledNode() {
  const name = process.platform === 'win32' ? 'node.exe' : 'node'
  for (let dir = root; ; dir = dirname(dir)) {
    const candidate = join(dir, 'node_modules', 'node', 'bin', name)
    if (existsSync(candidate)) return candidate
    if (dir === dirname(dir)) return undefined
  }
}

/** The running Node when it is new enough, else the bundled one, else `undefined`. */
const rightNode = () => (isRightNode() ? process.execPath : bundledNode())

/**
 * Runs `node args` with our standard streams until it ends, then ends this process in the same way. Signals are passed
 * on; the IPC channel closes with this process however it dies, and the child stops when it does.
 */
function runUntilEnd(node, args, env) {
  const child = spawn(node, [...process.execArgv, ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, ...env, [LAUNCHED]: '1' },
  })
  const forward = (signal) => child.kill(signal)
  for (const signal of FORWARDED) process.on(signal, forward)
  child.on('error', (error) => fail(`cannot run ${node}: ${error.message}`))
  child.on('exit', (code, signal) => {
    for (const name of FORWARDED) process.removeListener(name, forward)
    if (signal === null) process.exit(code)
    process.kill(process.pid, signal)
    // a signal that does not end us by itself, such as one that is ignored
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100)
  })
}

/** In the second process: ends when the first one is gone, unless the program has its own way to. */
function followLauncher() {
  if (process.env[LAUNCHED] === undefined) return
  delete process.env[LAUNCHED]
  if (process.channel === undefined) return
  process.on('disconnect', () => {
    if (process.listenerCount('disconnect') === 1) process.kill(process.pid, 'SIGTERM')
  })
  process.channel.unref()
}

/**
 * One Ctrl-C can arrive three times: from the terminal, from npm and from the launcher. A program that takes a second
 * one for "at once" would never stop in order, so that repeats within a moment count as one. Call before listeners are
 * added: Node binds `process.emit` when the first one is.
 */
function mergeRepeatedSignals() {
  const lastMs = {}
  const emit = process.emit
  process.emit = function (event, ...rest) {
    if (FORWARDED.includes(event)) {
      const nowMs = performance.now()
      if (nowMs - lastMs[event] < REPEATED_SIGNAL_MS) return true
      lastMs[event] = nowMs
    }
    return emit.call(this, event, ...rest)
  }
}

function fail(message) {
  process.stderr.write(`skein: ${message}\n`)
  process.exit(1)
}

module.exports = {
  NODE_MAJOR,
  bundledNode,
  fail,
  followLauncher,
  isRightNode,
  mergeRepeatedSignals,
  rightNode,
  root,
  runUntilEnd,
}

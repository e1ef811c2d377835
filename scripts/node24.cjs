/**
 * `node scripts/node24.cjs FILE [ARGS]`: installs what a clone lacks and runs FILE under the pinned Node, which is first
 * in the PATH of all that FILE starts. Every npm script goes through it, so that they work on a bare clone. What starts
 * keeps its compiled code where the launcher has it too: tests start hundreds of processes.
 */
'use strict'
const { tmpdir } = require('node:os')
const { delimiter, dirname, join } = require('node:path')
const { ensureInstalled } = require('../bin/install.cjs')
const { rightNode, root, runUntilEnd } = require('../bin/runtime.cjs')

const [file, ...args] = process.argv.slice(2)
ensureInstalled()
const node = rightNode()
runUntilEnd(node, [join(root, file), ...args], {
  PATH: [dirname(node), process.env.PATH].join(delimiter),
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache'),
})

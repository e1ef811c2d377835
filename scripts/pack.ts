/**
 * `prepack`: builds `dist/` from nothing, so that no file of a former build is published. The command line refers to all
 * that it needs. Then puts what runs ONNX models beside it (`node/engines/onnx/runtime.ts` has the reason): of the library
 * its JavaScript and, for each system, what computes on the CPU. And the page, and the models that come with Skein.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, runNode, TOOLS } from './tools.ts'

const LIBRARY = join(ROOT, 'node_modules', 'onnxruntime-node')
const TARGET = join(ROOT, 'dist', 'node', 'engines', 'onnx', 'runtime')
const SCRIPTS = ['backend.js', 'binding.js', 'index.js', 'version.js'].map((name) => `dist/${name}`)
/** Left out: DirectML and its compiler, which are loaded when asked for, and the same library under a second name. */
const BINARIES: Readonly<Record<string, readonly string[]>> = {
  'linux/x64': ['libonnxruntime.so.1'],
  'linux/arm64': ['libonnxruntime.so.1'],
  'darwin/arm64': ['libonnxruntime.1.dylib'],
  'win32/x64': ['onnxruntime.dll'],
  'win32/arm64': ['onnxruntime.dll'],
}

const BUNDLED = ['node', 'models', 'bundled']

function packRuntime(): void {
  const binaries = Object.entries(BINARIES).flatMap(([machine, names]) =>
    [...names, 'onnxruntime_binding.node'].map((name) => `bin/napi-v6/${machine}/${name}`),
  )
  for (const path of [...SCRIPTS, ...binaries]) cpSync(join(LIBRARY, path), join(TARGET, path))
  const { name, version, author, license, repository } = JSON.parse(
    readFileSync(join(LIBRARY, 'package.json'), 'utf8'),
  ) as Record<string, unknown>
  const manifest = { name, version, author, license, repository, type: 'commonjs', private: true }
  writeFileSync(join(TARGET, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  cpSync(join(ROOT, 'scripts', 'onnxruntime.LICENSE'), join(TARGET, 'LICENSE'))
}

rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
process.exitCode = runNode(TOOLS.tsc, ['-b', '--force', 'clients/cli']) || runNode('scripts/web.ts', [])
mkdirSync(TARGET, { recursive: true })
packRuntime()
cpSync(join(ROOT, ...BUNDLED), join(ROOT, 'dist', ...BUNDLED), { recursive: true })

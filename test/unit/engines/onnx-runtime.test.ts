/** What runs ONNX models is of one version everywhere, its install script runs nowhere, and it tells nobody anything. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { ENGINE_BUILD } from '../../../node/engines/onnx/runtime.ts'

const read = (name: string): string => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8')
interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly allowScripts: Readonly<Record<string, boolean>>
}

it('is pinned alike in package.json and in what numerics name', () => {
  const { dependencies, devDependencies, allowScripts } = JSON.parse(read('package.json')) as Manifest
  const version = devDependencies['onnxruntime-node']!
  expect(ENGINE_BUILD).toContain(`onnxruntime-node ${version},`)
  expect(dependencies['onnxruntime-common']).toBe(version)
  expect(dependencies).not.toHaveProperty('onnxruntime-node')
  expect(allowScripts['onnxruntime-node']).toBe(false)
})

it('has no install script by the lock, as npm reads it', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { hasInstallScript?: true }>
  }
  expect(packages['node_modules/onnxruntime-node']).toBeDefined()
  expect(packages['node_modules/onnxruntime-node']!.hasInstallScript).toBeUndefined()
})

it('has for each system the files that a published package carries', () => {
  const paths = [...read('scripts/pack.ts').matchAll(/'([a-z0-9]+\/(?:x64|arm64))': \['([^']+)'\]/g)]
  expect(paths.map(([, machine]) => machine)).toHaveLength(5)
  for (const [, machine, name] of paths)
    for (const file of [name, 'onnxruntime_binding.node'])
      expect(
        existsSync(new URL(`../../../node_modules/onnxruntime-node/bin/napi-v6/${machine}/${file}`, import.meta.url)),
        `${machine}/${file}`,
      ).toBe(true)
})

it('keeps nothing for its makers when it runs a model', () => {
  const dir = mkdtempSync(join(tmpdir(), 'skein-test-'))
  try {
    const runtime = new URL('../../../node/engines/onnx/runtime.ts', import.meta.url).href
    const model = fileURLToPath(new URL('../../../node/models/bundled/sensor/model.onnx', import.meta.url))
    const program = `const { InferenceSession } = await (await import('${runtime}')).openRuntime()
      await (await InferenceSession.create('${model}')).release()`
    const env = { ...process.env, TMPDIR: dir, HOME: dir, XDG_CACHE_HOME: dir, ORT_DISABLE_TELEMETRY: '' }
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { env })
    expect(status, stderr.toString()).toBe(0)
    expect(readdirSync(dir)).toEqual([])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { policyInForce } from '../../../clients/cli/owner-policy.ts'
import { POLICY_FILE, VALID_POLICY_FILE } from '../../../node/policy/index.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-policy-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('the policy of a data directory', () => {
  it('is none where there is no file', async () => {
    const { policy, problem } = await policyInForce(dir)
    expect(problem).toBeUndefined()
    expect(policy.written.size).toBe(0)
  })

  it('is the last one without an error where the file is wrong', async () => {
    await writeFile(join(dir, POLICY_FILE), 'nothing = [')
    await writeFile(join(dir, VALID_POLICY_FILE), '[network]\nmetered = "pause"\n')
    const { policy, problem, file } = await policyInForce(dir)
    expect({ file, metered: policy.settings.metered }).toEqual({ file: VALID_POLICY_FILE, metered: 'pause' })
    expect(problem).toBeDefined()
  })

  it('is not empty where the file is there and cannot be read', async () => {
    await mkdir(join(dir, POLICY_FILE))
    await writeFile(join(dir, VALID_POLICY_FILE), '[network]\nmetered = "pause"\n')
    const { policy, problem } = await policyInForce(dir)
    expect(policy.settings.metered).toBe('pause')
    expect(problem).toMatch(/EISDIR|directory/)
  })
})

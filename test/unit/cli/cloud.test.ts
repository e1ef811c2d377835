/** `skein cloud`, and what `skein doctor` says of the settings. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cloudSettingsOf, missingKeys } from '../../../clients/cli/cloud-settings.ts'
import { renderCloud } from '../../../clients/cli/commands/cloud.ts'
import { checkCloud } from '../../../clients/cli/doctor/cloud-check.ts'

const SETTINGS = {
  policy: { reasons: ['lost'], models: ['qwen*'], redact: [{ pattern: 'x' }] },
  endpoints: [
    {
      name: 'rented',
      url: 'https://example.org/v1',
      keys: ['RENTED_KEY'],
      price: { inputPerMillion: 0.1, outputPerMillion: 0.4 },
      models: [{ name: 'Qwen/Qwen3-8B', serves: 'qwen3-8b' }],
    },
  ],
}

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-cloud-'))
})
afterEach(() => rm(folder, { recursive: true }))
const write = (text: string): Promise<void> => writeFile(join(folder, 'cloud.json'), text)

describe('the settings of a data directory', () => {
  it('are listed, with what they let leave', async () => {
    expect(renderCloud(await cloudSettingsOf(folder))).toMatch(/no cloud\.json/)
    await write(JSON.stringify(SETTINGS))
    const text = renderCloud(await cloudSettingsOf(folder))
    expect(text).toMatch(/may leave for: lost/)
    expect(text).toMatch(/models: qwen\* · tenants: \*/)
    expect(text).toMatch(/1 pattern/)
    expect(text).toMatch(/rented +https:\/\/example\.org\/v1 +0\.1 \/ 0\.4 +Qwen\/Qwen3-8B as qwen3-8b/)
  })

  it('are examined by the doctor', async () => {
    expect(await checkCloud(folder, {})).toMatchObject({ verdict: 'ok', detail: expect.stringMatching(/defaults/) })
    await write(JSON.stringify(SETTINGS))
    expect(await checkCloud(folder, {})).toMatchObject({
      verdict: 'warning',
      detail: expect.stringMatching(/RENTED_KEY/),
    })
    expect(await checkCloud(folder, { RENTED_KEY: 'k' })).toMatchObject({
      verdict: 'ok',
      detail: 'may leave for: lost; 1 endpoint',
    })
    await write('{"polcy":{}}')
    expect(await checkCloud(folder, {})).toMatchObject({ verdict: 'failure', detail: expect.stringMatching(/"polcy"/) })
    await expect(cloudSettingsOf(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('name each missing variable once', async () => {
    await write(JSON.stringify({ endpoints: [...SETTINGS.endpoints, { ...SETTINGS.endpoints[0], name: 'other' }] }))
    expect(missingKeys((await cloudSettingsOf(folder))!, { RENTED_KEY: '' })).toEqual(['RENTED_KEY'])
  })
})

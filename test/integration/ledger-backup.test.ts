/** `skein backup` and `skein restore` on the data directory of a real coordinator. */
import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeBackup } from '../../coordinator/ledger/index.ts'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'

const COORDINATOR = ['coordinator', '--http', '127.0.0.1:0', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']

describe('a backup', () => {
  let directory: string
  let backup: string
  let coordinator: SkeinProcess
  let made: { stdout: string; stderr: string; code: number | null }
  let restores = 0
  const restore = async (
    file = backup,
  ): Promise<{ code: number | null; stdout: string; stderr: string; data: string }> => {
    const data = join(directory, `restored-${++restores}`)
    return { ...(await skein(['restore', file, '--data', data])), data }
  }
  /** A backup that `change` was made to. */
  const spoilt = async (change: (path: string) => void | Promise<void>): Promise<string> => {
    const path = join(directory, `spoilt-${++restores}`)
    await copyFile(backup, path)
    await change(path)
    return path
  }
  const sql = (statement: string) => (path: string) => {
    const db = new DatabaseSync(path)
    db.exec(statement)
    db.close()
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'skein-backup-'))
    backup = join(directory, 'backup')
    coordinator = await SkeinProcess.start({ args: COORDINATOR, dataDir: join(directory, 'data') })
    made = await skein(['backup', backup, '--data', coordinator.dataDir])
  })
  afterAll(async () => {
    await coordinator.kill()
    await rm(directory, { recursive: true })
  })

  it('is made while a coordinator runs, for its owner alone, and leaves nothing else behind', async () => {
    expect(made.code, made.stderr).toBe(0)
    expect(made.stdout).toContain('checked by restoring it')
    expect(made.stderr).toContain('secret keys')
    expect((await stat(backup)).mode & 0o777).toBe(0o600)
    expect(await readdir(directory)).toEqual(['backup', 'data'])
  })

  it('restores to the same member and mesh, which starts', async () => {
    const restored = await restore()
    expect(restored.code, restored.stderr).toBe(0)
    expect(restored.stderr).toContain('skein up --data')
    for (const name of ['identity.key', 'mesh.key', 'authority.json', 'membership.json'])
      expect(await readFile(join(restored.data, name)), name).toEqual(await readFile(join(coordinator.dataDir, name)))
    for (const name of await readdir(restored.data))
      expect((await stat(join(restored.data, name))).mode & 0o777, name).toBe(0o600)
    expect((await stat(restored.data)).mode & 0o777).toBe(0o700)
    expect(
      (await readFile(join(restored.data, 'ledger.db'))).includes(await readFile(join(restored.data, 'mesh.key'))),
    ).toBe(false)
    const again = await SkeinProcess.start({ args: COORDINATOR, dataDir: restored.data })
    try {
      expect(again.ready.peerId).toBe(coordinator.ready.peerId)
    } finally {
      await again.kill()
    }
  })

  it('is made when none runs, also after a kill', async () => {
    const data = join(directory, 'killed')
    const killed = await SkeinProcess.start({ args: COORDINATOR, dataDir: data })
    await killed.stop('SIGKILL')
    const result = await skein(['backup', join(directory, 'of-killed'), '--data', data, '--json'])
    expect(result.code, result.stderr).toBe(0)
    expect(JSON.parse(result.stdout)).toMatchObject({
      version: '0.1.0',
      ledger: {
        ...{ schemaVersion: 6, epoch: 1, accessEvents: 0, usage: 0, batchEvents: 0, leaseEvents: 0 },
        ...{ charges: 0, budgetEvents: 0 },
      },
      files: expect.arrayContaining(['identity.key', 'mesh.key']) as string[],
    })
  })

  it('is made of a node, which has no ledger', async () => {
    const data = join(directory, 'node')
    const file = join(directory, 'of-node')
    await mkdir(data)
    await writeFile(join(data, 'identity.key'), 'key')
    expect((await skein(['backup', file, '--data', data])).code).toBe(0)
    const restored = await restore(file)
    expect(restored.code, restored.stderr).toBe(0)
    expect(await readdir(restored.data)).toEqual(['identity.key'])
  })

  it('takes no place that is taken, and none of an empty directory', async () => {
    const before = await readFile(backup)
    const result = await skein(['backup', backup, '--data', coordinator.dataDir])
    expect([result.code, result.stderr]).toEqual([2, expect.stringContaining('exists already')])
    expect(await readFile(backup)).toEqual(before)
    const empty = join(directory, 'empty')
    await mkdir(empty)
    expect((await skein(['backup', join(directory, 'x'), '--data', empty])).code).toBe(1)
  })

  it('is not restored over what is there', async () => {
    const result = await skein(['restore', backup, '--data', coordinator.dataDir])
    expect([result.code, result.stderr]).toEqual([1, expect.stringContaining('is not empty')])
  })

  it.each([
    ['cut off', (path: string) => readFile(path).then((all) => writeFile(path, all.subarray(0, all.length / 2)))],
    ['no backup at all', (path: string) => writeFile(path, 'hello'.repeat(1000))],
    ['empty', (path: string) => writeFile(path, '')],
    ['a database of something else', sql('DROP TABLE backup_files')],
    ['changed in a key', sql("UPDATE backup_files SET content = x'00' WHERE name = 'mesh.key'")],
    ['changed in the ledger', sql("UPDATE meta SET value = 7 WHERE key = 'epoch'")],
    ['changed in what it says', sql("UPDATE backup SET manifest = replace(manifest, '0.1.0', '0.2.0')")],
    ['short of a file', sql("DELETE FROM backup_files WHERE name = 'mesh.key'")],
    ['one with a trigger', sql('CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM tasks; END')],
  ])('that is %s is refused, and nothing is made of it', async (_name, change) => {
    const result = await restore(await spoilt(change))
    expect(result.code).toBe(2)
    expect(result.stderr).toMatch(/skein: .*spoilt-\d+ (is|has|does|holds) /)
    await expect(stat(result.data)).rejects.toMatchObject({ code: 'ENOENT' })
    expect((await readdir(directory)).filter((name) => name.includes('.restore-'))).toEqual([])
  })

  it('with a file that leads elsewhere is refused, however well it is signed off', async () => {
    const file = join(directory, 'forged')
    const files = [{ name: 'identity.key', content: new Uint8Array(1) }]
    writeBackup({ ledgerPath: join(directory, 'none'), files, version: '0.1.0', createdAtMs: 0 }, file)
    const db = new DatabaseSync(file)
    const { manifest } = db.prepare('SELECT manifest FROM backup').get() as { manifest: string }
    const forged = manifest.replace('identity.key', '../escaped')
    const digest = createHash('sha256').update(forged).digest('hex')
    db.prepare('UPDATE backup SET manifest = ?, sha256 = ?').run(forged, digest)
    db.exec("UPDATE backup_files SET name = '../escaped'")
    db.close()
    const result = await restore(file)
    expect([result.code, result.stderr]).toEqual([2, expect.stringContaining('no data directory has')])
  })

  it('of a damaged ledger fails, and says so', async () => {
    const data = join(directory, 'damaged')
    await mkdir(data)
    await writeFile(join(data, 'ledger.db'), 'x'.repeat(9000))
    const result = await skein(['backup', join(directory, 'of-damaged'), '--data', data])
    expect([result.code, result.stderr]).toEqual([1, expect.stringContaining('is damaged')])
    await expect(stat(join(directory, 'of-damaged'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

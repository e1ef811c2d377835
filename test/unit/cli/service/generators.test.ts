/** What is written for the service managers: against golden files, and read back as each of them reads it. */
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { launchdPlist, LaunchdManager, parsePrint } from '../../../../clients/cli/service/launchd.ts'
import { decodeMark, encodeMark } from '../../../../clients/cli/service/mark.ts'
import { argumentWord, lineValue, listWord, programWord } from '../../../../clients/cli/service/systemd-text.ts'
import {
  parseShow,
  STOP_SECONDS,
  SystemdManager,
  systemdUnit,
  type SystemdInit,
} from '../../../../clients/cli/service/systemd.ts'
import { taskXml, WindowsManager, windowsWord } from '../../../../clients/cli/service/windows.ts'
import { LIMITS } from '../../../../mesh/protocol/index.ts'
import { AWKWARD, PLAIN } from './specs.ts'
import { parseXml, plistValue, type XmlElement } from './xml-reader.ts'

const golden = (name: string): Promise<string> => readFile(new URL(`golden/${name}`, import.meta.url), 'utf8')
const OLD = { version: 252, deviceGroups: ['video', 'render'] }

describe('a systemd unit', () => {
  it('is as it was', async () => {
    expect(systemdUnit(PLAIN, OLD)).toBe(await golden('user.service'))
    expect(systemdUnit(AWKWARD, { ...OLD, version: 256 })).toBe(await golden('system.service'))
  })

  it('stops later than Skein does', () => {
    expect(STOP_SECONDS * 1000).toBeGreaterThan(LIMITS.shutdownMs)
  })

  it('quotes what systemd would take apart', () => {
    expect(argumentWord('plain-1.2/x=y')).toBe('plain-1.2/x=y')
    expect(argumentWord('a b')).toBe('"a b"')
    expect(argumentWord('50%')).toBe('50%%')
    expect(argumentWord('$HOME')).toBe('$$HOME')
    expect(argumentWord('say "no"\\')).toBe('"say \\"no\\"\\\\"')
    expect(argumentWord("it's")).toBe('"it\'s"')
    expect(argumentWord('')).toBe('""')
    expect(argumentWord(';')).toBe('";"')
    expect(programWord('/a $b/50%')).toBe('"/a $b/50%%"')
    expect(listWord('HOME=/a $b')).toBe('"HOME=/a $b"')
    expect(lineValue('50% of a\\')).toBe('50%% of a\\')
    expect(() => programWord('/a "b"/node')).toThrow('quote or backslash')
    for (const write of [argumentWord, programWord, listWord, lineValue])
      expect(() => write('a\nExecStartPre=/bin/evil')).toThrow('control characters')
  })

  it('has no secret, even if it is given an invite', () => {
    expect(systemdUnit(PLAIN, OLD)).not.toMatch(/--join|--api-key|skein1/)
  })

  it('is installed and removed by commands of the right manager', () => {
    const init = { unitDir: '/units', version: 252, ask: async () => undefined, deviceGroups: [], isLingering: false }
    const ofUser = new SystemdManager({ ...init, scope: 'user', hasAccount: false })
    expect(ofUser.install(PLAIN)).toMatchObject({
      before: [],
      files: [{ path: '/units/skein.service' }],
      notes: [
        expect.stringContaining('loginctl enable-linger'),
        expect.stringContaining('systemctl --user edit skein'),
      ],
    })
    expect(ofUser.uninstall('skein').before[0]!.argv).toEqual([
      'systemctl',
      '--user',
      'disable',
      '--now',
      'skein.service',
    ])
    const ofSystem = new SystemdManager({ ...init, scope: 'system', hasAccount: false } satisfies SystemdInit)
    expect(ofSystem.install(AWKWARD).before.map(({ argv }) => argv[0])).toEqual(['useradd', 'mkdir', 'chown'])
    expect(ofSystem.install(AWKWARD).after[0]!.argv).toEqual(['systemctl', 'daemon-reload'])
  })

  it('is asked for its state', () => {
    const shown =
      'LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=77\nUnitFileState=enabled\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n'
    expect(parseShow(shown)).toEqual({
      isRunning: true,
      state: 'active (running)',
      pid: 77,
      startsByItself: true,
      lastExitCode: undefined,
    })
    const failed = shown
      .replace('active\n', 'failed\n')
      .replace('77', '0')
      .replace('Status=0', 'Status=4')
      .replace('ic=0', 'ic=9')
    expect(parseShow(failed)).toMatchObject({ isRunning: false, pid: undefined, lastExitCode: 4 })
    expect(parseShow('')).toBeUndefined()
  })
})

describe('a launchd property list', () => {
  it('is as it was, and says what was meant', async () => {
    expect(launchdPlist(PLAIN)).toBe(await golden('agent.plist'))
    const plist = plistValue(parseXml(launchdPlist(AWKWARD)).children[0] as XmlElement) as Record<string, unknown>
    expect(plist).toMatchObject({
      Label: 'skein.skein-second',
      ProgramArguments: AWKWARD.command,
      UserName: 'skein',
      WorkingDirectory: AWKWARD.dataDir,
      KeepAlive: { SuccessfulExit: false },
      ExitTimeOut: STOP_SECONDS,
      Umask: 0o077,
    })
  })

  it('is loaded anew by an installation, and asked for its state', () => {
    const manager = new LaunchdManager({ scope: 'user', plistDir: '/agents', uid: 501, ask: async () => undefined })
    expect(manager.install(PLAIN).after.map(({ argv }) => argv.join(' '))).toEqual([
      'launchctl bootout gui/501/skein.skein',
      'launchctl bootstrap gui/501 /agents/skein.skein.plist',
    ])
    const printed = 'gui/501/skein.skein = {\n\tstate = running\n\tpid = 312\n\tlast exit code = 0\n}'
    expect(parsePrint(printed)).toMatchObject({ isRunning: true, pid: 312, lastExitCode: 0 })
    expect(parsePrint('\tstate = not running\n\tlast exit code = (never exited)')).toMatchObject({
      isRunning: false,
      pid: undefined,
      lastExitCode: undefined,
    })
  })
})

describe('a task of Windows', () => {
  const spec = { ...PLAIN, command: ['C:\\Program Files\\node.exe', 'C:\\skein\\bin\\skein', 'node', 'say "no"', ''] }

  it('is as it was, and says what was meant', async () => {
    expect(taskXml(spec, 'PC\\anna'))
      // git may turn the ends of lines
      .toBe((await golden('task.xml')).replaceAll('\n', '\r\n'))
    const task = parseXml(taskXml(spec, 'PC\\a & b'))
    const text = (name: string): string | undefined => find(task, name)?.text
    expect(text('UserId')).toBe('PC\\a & b')
    expect(text('Arguments')).toBe(
      '--headless "C:\\Program Files\\node.exe" C:\\skein\\bin\\skein node "say \\"no\\"" ""',
    )
  })

  it('quotes as the C runtime reads', () => {
    expect(windowsWord('C:\\a b\\')).toBe('"C:\\a b\\\\"')
    expect(windowsWord('a\\"b')).toBe('"a\\\\\\"b"')
    expect(() => windowsWord('%PATH%')).toThrow('percent')
  })

  it('runs as the local service when it is of the machine', () => {
    expect(taskXml({ ...spec, scope: 'system' }, 'PC\\anna')).toContain('<UserId>S-1-5-19</UserId>')
    const manager = new WindowsManager({ scope: 'system', taskDir: 'C:\\d', user: 'u', ask: async () => undefined })
    expect(manager.install(spec).files[0]).toMatchObject({ path: 'C:\\d\\skein.xml', encoding: 'utf16' })
  })
})

const find = (element: XmlElement, name: string): XmlElement | undefined =>
  element.name === name
    ? element
    : element.children.map((child) => find(child, name)).find((found) => found !== undefined)

describe('the mark', () => {
  it('is read back, whatever the path', () => {
    for (const data of ['/srv/skein', '/a -- b/-->/%h/"\\x\\"/ü', 'C:\\Users\\a b']) {
      const mark = { role: 'up', data, version: '0.1.0' } as const
      expect(encodeMark(mark)).not.toMatch(/--|[<>%\n]/)
      expect(decodeMark(`# ${encodeMark(mark)}\nmore`)).toEqual(mark)
    }
  })

  it('is none in the file of someone else', () => {
    expect(decodeMark('[Unit]\nDescription=Skein')).toBeUndefined()
    expect(decodeMark('# made by skein service install {"role":"root","data":"/","version":"1"}')).toBeUndefined()
    expect(decodeMark('# made by skein service install {{')).toBeUndefined()
  })
})

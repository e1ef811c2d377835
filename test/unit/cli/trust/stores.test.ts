import { describe, expect, it } from 'vitest'
import { shown, storePlan, type StoreSurroundings } from '../../../../clients/cli/trust/stores.ts'

const AUTHORITY = { file: '/data/trust-ca.crt', sha1: 'AB12CD34EF'.padEnd(40, '0') }
const around = (platform: NodeJS.Platform, programs: readonly string[] = [], isRoot = false): StoreSurroundings => ({
  platform,
  has: (program) => programs.includes(program),
  isRoot,
  home: '/people/ada',
})
const lines = (action: 'install' | 'uninstall', surroundings: StoreSurroundings): string[] =>
  storePlan(action, surroundings, AUTHORITY).commands.map(shown)

describe('the trusted authorities of a system are changed', () => {
  it('of Debian and its like, with sudo where it is needed', () => {
    const debian = around('linux', ['update-ca-certificates'])
    expect(lines('install', debian)).toEqual([
      'sudo install -m 644 /data/trust-ca.crt /usr/local/share/ca-certificates/skein-ab12cd34.crt',
      'sudo update-ca-certificates',
    ])
    expect(lines('uninstall', { ...debian, isRoot: true })).toEqual([
      'rm -f /usr/local/share/ca-certificates/skein-ab12cd34.crt',
      'update-ca-certificates',
    ])
  })

  it('of Fedora and its like', () => {
    expect(lines('install', around('linux', ['update-ca-trust'], true))).toEqual([
      'install -m 644 /data/trust-ca.crt /etc/pki/ca-trust/source/anchors/skein-ab12cd34.crt',
      'update-ca-trust',
    ])
  })

  it('of macOS, for the account alone', () => {
    expect(lines('install', around('darwin'))).toEqual([
      'security add-trusted-cert -r trustRoot -k /people/ada/Library/Keychains/login.keychain-db /data/trust-ca.crt',
    ])
    expect(lines('uninstall', around('darwin'))).toEqual(['security remove-trusted-cert /data/trust-ca.crt'])
  })

  it('of Windows, for the account alone', () => {
    expect(lines('install', around('win32'))).toEqual(['certutil -user -addstore Root /data/trust-ca.crt'])
    expect(lines('uninstall', around('win32'))).toEqual([`certutil -user -delstore Root ${AUTHORITY.sha1}`])
  })

  it.each([around('linux'), around('freebsd', ['update-ca-certificates'])])('nowhere else', (surroundings) => {
    expect(() => lines('install', surroundings)).toThrow(expect.objectContaining({ code: 'TRUST_STORE_FAILED' }))
  })

  it('and are shown as a shell would take them', () => {
    expect(shown(['a', "it's here", 'x=1'])).toBe(String.raw`a 'it'\''s here' x=1`)
  })
})

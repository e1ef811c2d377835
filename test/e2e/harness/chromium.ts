/** The browser of the lane: the system's Chromium, which playwright-core only drives. */
import { accessSync, constants } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

const USUAL = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

function executable(): string {
  const given = process.env['CHROMIUM']
  const found = (given === undefined ? USUAL : [given]).find(isExecutable)
  if (found !== undefined) return found
  throw new TypeError(
    `no Chromium at ${given ?? USUAL.join(', ')}: install it (apt-get install chromium), or name one with CHROMIUM=PATH`,
  )
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export function launchChromium(): Promise<Browser> {
  // the sandbox of Chromium refuses to be root, which tests in containers are
  const isRoot = process.getuid?.() === 0
  const args = ['--disable-dev-shm-usage', '--font-render-hinting=none', ...(isRoot ? ['--no-sandbox'] : [])]
  return chromium.launch({ executablePath: executable(), args })
}

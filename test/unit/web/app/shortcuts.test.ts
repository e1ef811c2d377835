/** Keys of the keyboard. */
import { describe, expect, it } from 'vitest'
import { isPress, keyCaps, Shortcuts } from '../../../../clients/web/app/shortcuts.ts'

const press = (key: string, init: Partial<KeyboardEvent> = {}) => ({
  ...{ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, isComposing: false, ...init },
})

describe('a press', () => {
  it.each([
    ['Ctrl+K', press('k', { ctrlKey: true }), true],
    ['Ctrl+K', press('k', { metaKey: true }), true],
    ['Ctrl+K', press('k'), false],
    ['Ctrl+K', press('K', { ctrlKey: true, shiftKey: true }), false],
    ['Ctrl+Shift+O', press('O', { ctrlKey: true, shiftKey: true }), true],
    ['?', press('?', { shiftKey: true }), true],
    ['?', press('?'), true],
    ['Escape', press('Escape'), true],
    ['Escape', press('Escape', { shiftKey: true }), false],
    // in the middle of a character that an input method makes
    ['Escape', press('Escape', { isComposing: true }), false],
    ['Ctrl+,', press(',', { ctrlKey: true }), true],
  ])('%s', (keys, pressed, isOne) => {
    expect(isPress(keys, pressed)).toBe(isOne)
  })
})

it('the newest shortcut that may is run, and no other', () => {
  const ran: string[] = []
  const shortcuts = new Shortcuts()
  let isOpen = true
  const one = (name: string, when?: () => boolean) => ({
    ...{ keys: 'Ctrl+K', label: () => name, run: () => void ran.push(name), ...(when && { when }) },
  })
  shortcuts.add(one('frame'))
  const remove = shortcuts.add(
    one('page', () => isOpen),
    { ...one('shown'), isShownOnly: true },
  )
  const event = () => {
    let isTaken = false
    shortcuts.press({
      ...press('k', { ctrlKey: true }),
      ...{ defaultPrevented: false, target: null, preventDefault: () => void (isTaken = true) },
    } as unknown as KeyboardEvent)
    return isTaken
  }
  expect(event()).toBe(true)
  isOpen = false
  expect(event()).toBe(true)
  remove()
  expect(shortcuts.all.value).toHaveLength(1)
  expect(ran).toEqual(['page', 'frame'])
})

it('caps are in the words of the language', () => {
  expect(keyCaps('Ctrl+Shift+o', { Ctrl: 'Strg' })).toEqual(['Strg', 'Shift', 'O'])
  expect(keyCaps('Escape', { Escape: 'Échap' })).toEqual(['Échap'])
})

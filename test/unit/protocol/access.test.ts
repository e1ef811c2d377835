/** Whom the owner of a node serves: lists of names, and records that say more than they may. */
import { describe, expect, it } from 'vitest'
import { AccessSchema, checker, isListed, isServed, LIMITS } from '../../../mesh/protocol/index.ts'

describe('a list of names', () => {
  it('has everything when it is empty, else names and beginnings', () => {
    expect(isListed([], ['x'])).toBe(true)
    expect(isListed(['home', 'lla*'], ['llama-1b'])).toBe(true)
    expect(isListed(['home', 'lla*'], ['sha256:ab', 'home'])).toBe(true)
    expect(isListed(['home', 'lla*'], ['homer', 'll'])).toBe(false)
  })
})

describe('access', () => {
  it('is everybody’s without a list; else of those named, and never of who names nobody', () => {
    expect(isServed({}, undefined)).toBe(true)
    expect(isServed({}, 'anna')).toBe(true)
    expect(isServed({ tenants: ['anna', 'key:*'] }, 'anna')).toBe(true)
    expect(isServed({ tenants: ['anna', 'key:*'] }, 'key:0a')).toBe(true)
    expect(isServed({ tenants: ['anna', 'key:*'] }, 'ben')).toBe(false)
    expect(isServed({ tenants: ['anna', 'key:*'] }, undefined)).toBe(false)
    expect(isServed({ tenants: ['*'] }, undefined)).toBe(false)
  })

  it('of a record is bounded, and an empty list is none', () => {
    const isAccess = checker(AccessSchema)
    const longest = 'x'.repeat(LIMITS.tenantLengthMax)
    expect(isAccess({})).toBe(true)
    expect(isAccess({ tenants: Array.from({ length: LIMITS.policyListMax }, () => longest) })).toBe(true)
    expect(isAccess({ tenants: [] })).toBe(false)
    expect(isAccess({ tenants: [''] })).toBe(false)
    expect(isAccess({ tenants: [`${longest}x`] })).toBe(false)
    expect(isAccess({ tenants: Array.from({ length: LIMITS.policyListMax + 1 }, () => 'x') })).toBe(false)
  })
})

/** A first name for a device, from what its browser says of itself: a person may call it otherwise. */

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Edg\//, 'Edge'],
  [/Firefox\//, 'Firefox'],
  [/OPR\//, 'Opera'],
  [/Chrom(e|ium)\//, 'Chrome'],
  [/Safari\//, 'Safari'],
]
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/iPhone/, 'iPhone'],
  [/iPad/, 'iPad'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'Mac'],
  [/CrOS/, 'Chromebook'],
  [/Linux/, 'Linux'],
]

/** Such as `Firefox, Linux`; undefined of a browser that says nothing known. */
export function deviceNameOf(userAgent: string): string | undefined {
  const named = [BROWSERS, SYSTEMS].flatMap((known) => known.find(([form]) => form.test(userAgent))?.[1] ?? [])
  return named.length === 0 ? undefined : named.join(', ')
}

import { useEffect, useState } from 'preact/hooks'

export interface QrCodeProps {
  readonly text: string
  /** What it leads to, for readers of screens. */
  readonly label: string
  /** In CSS pixels; 200 when absent. */
  readonly size?: number
}

/** Modules of white around the code, without which cameras do not find it. */
const QUIET_MODULES = 3

/** A code to be photographed: dark on white in both themes, as cameras want it. */
export function QrCode({ text, label, size = 200 }: QrCodeProps) {
  const [code, setCode] = useState<{ path: string; modules: number }>()
  useEffect(() => {
    let isCurrent = true
    void import('uqr').then(({ encode }) => {
      const { data } = encode(text, { ecc: 'M', border: QUIET_MODULES })
      if (isCurrent) setCode({ path: pathOf(data), modules: data.length })
    })
    return () => void (isCurrent = false)
  }, [text])
  return (
    <svg
      class="ui-qr"
      role="img"
      aria-label={label}
      width={size}
      height={size}
      viewBox={`0 0 ${code?.modules ?? 1} ${code?.modules ?? 1}`}
      shape-rendering="crispEdges"
    >
      <rect width="100%" height="100%" fill="#fff" />
      {code !== undefined && <path d={code.path} fill="#111" />}
    </svg>
  )
}

const pathOf = (rows: readonly (readonly boolean[])[]): string =>
  rows.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : ''))).join('')

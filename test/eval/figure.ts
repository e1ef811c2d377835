/** One measured figure of an evaluation. */
export interface Figure {
  readonly name: string
  readonly value: number
  /** What `value` must reach. */
  readonly least: number
  /** Cases that it was measured on. */
  readonly of: number
}

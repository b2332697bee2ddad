/** A place in a scenario file, both numbers 1-based. */
export interface Position {
  line: number
  column: number
}

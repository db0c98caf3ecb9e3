/** The rows that are held in memory until they are written together, by column. */
import type { StoredValue } from './column-type.js'
import type { MemoryBudget } from './memory-budget.js'
import type { Row } from './row.js'

/** Size of the values of a row group at which it ends, however few its rows are. */
const MAX_BYTES = 16 * 2 ** 20

/** Assumed size of a value without its text or bytes: a slot of an array, and a number on the heap. */
const VALUE_BYTES = 24

export class RowGroup {
  readonly #maxRows: number
  readonly #budget: MemoryBudget
  /** Values of each column. */
  #columns: (StoredValue | undefined)[][]
  #rows = 0
  #bytes = 0

  constructor(columns: number, maxRows: number, budget: MemoryBudget) {
    this.#maxRows = maxRows
    this.#budget = budget
    this.#columns = Array.from({ length: columns }, () => [])
  }

  /** Number of rows. */
  get rows(): number {
    return this.#rows
  }

  /** Depends on the rows alone, so that a rerun writes the same row groups. */
  get isFull(): boolean {
    if (this.#rows >= this.#maxRows || this.#bytes >= MAX_BYTES) return true
    return this.#budget.endsEarly(this.#bytes)
  }

  add(row: Row): void {
    this.#rows++
    let bytes = 0
    for (const [i, values] of this.#columns.entries()) {
      const value = row[i]
      values.push(value)
      bytes += sizeOf(value)
    }
    this.#bytes += bytes
    this.#budget.add(bytes)
  }

  /** Returns the values of each column, and starts the next row group. */
  take(): (StoredValue | undefined)[][] {
    const columns = this.#columns
    this.#columns = columns.map(() => [])
    this.#budget.release(this.#bytes)
    this.#rows = 0
    this.#bytes = 0
    return columns
  }
}

function sizeOf(value: StoredValue | undefined): number {
  if (typeof value === 'string') return VALUE_BYTES + 2 * value.length
  return VALUE_BYTES + (typeof value === 'object' ? value.length : 0)
}

/** Memory that the open row groups of one job share. A row group alone is bounded by its own limit. */

/** Size of all values above which row groups end early. */
const MAX_BYTES = 256 * 2 ** 20

/** Smallest size at which a row group ends early. Smaller ones would make the files large and slow to read. */
const MIN_ROW_GROUP_BYTES = 256 * 1024

export class MemoryBudget {
  #used = 0

  add(bytes: number): void {
    this.#used += bytes
  }

  release(bytes: number): void {
    this.#used -= bytes
  }

  /** Returns whether a row group of that size ends early. Depends on the records of the job alone. */
  endsEarly(rowGroupBytes: number): boolean {
    return this.#used > MAX_BYTES && rowGroupBytes >= MIN_ROW_GROUP_BYTES
  }
}

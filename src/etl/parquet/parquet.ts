/** The Parquet format of `rotate`: one file per object, by `hyparquet-writer`. */
import type { ObjectFormat } from '../object-format.js'
import { checkParquetOptions } from './check-options.js'
import { ParquetEncoder } from './encoder.js'
import { MemoryBudget } from './memory-budget.js'
import type { ParquetOptions } from './options.js'

/**
 * Creates a Parquet format. Loads `hyparquet-writer`, an optional peer dependency that must be installed; rejects
 * if it is missing. Records are objects. A value that its column does not accept, and a property that is no column,
 * fail the record before anything of it is written. Excludes the options `commit` and `transform` of `rotate`.
 * @throws TypeError, RangeError, by rejecting, for invalid options
 */
export async function parquet(options: ParquetOptions): Promise<ObjectFormat<object>> {
  const settings = checkParquetOptions(options)
  const library = await import('hyparquet-writer')
  const budgets = new WeakMap<object, MemoryBudget>()
  return {
    createEncoder: job => {
      const budget = budgets.get(job) ?? new MemoryBudget()
      budgets.set(job, budget)
      return new ParquetEncoder(library, settings, budget)
    },
  }
}

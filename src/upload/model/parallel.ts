/** The `parallel` option: how many parts of an upload are in flight. */

/** Maximum number of parts in flight; `'auto'` follows the throughput. */
export type Parallel = number | 'auto'

/** Parts in flight with which `'auto'` starts, and its minimum while OSS does not throttle. */
export const MIN_AUTO_PARALLEL = 5

/** Returns how many parts may always be in flight. */
export function minParallel(parallel: Parallel): number {
  return parallel === 'auto' ? MIN_AUTO_PARALLEL : parallel
}

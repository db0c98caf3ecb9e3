/** Bounded concurrency for uploads and for reading their directories. */

/** Runs `work` on every item, at most `limit` concurrently. Resolves with the results in the order of the items. */
export async function mapLimit<T, R>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [i, item] of queue) results[i] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  return results
}

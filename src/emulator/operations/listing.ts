/**
 * One page of a list in the order of OSS, the same for objects and for uploads: prefix, delimiter,
 * marker and maximum. Pure but for `load`, which may find that an entry has gone.
 */

/** What to show of a sorted list. */
export interface PageRequest<E, T> {
  readonly keyOf: (entry: E) => string
  readonly prefix: string
  readonly delimiter: string
  /** Items and common prefixes together. */
  readonly maxItems: number
  /** Whether an entry comes after the marker. */
  readonly isAfterMarker: (entry: E) => boolean
  /** The marker as a key or common prefix; '' for none. */
  readonly marker: string
  /** The item of an entry; undefined if there is none any more. */
  readonly loadItem: (entry: E) => Promise<T | undefined>
}

/** The page. */
export interface Page<T> {
  readonly items: readonly T[]
  /** Each once, in order. */
  readonly prefixes: readonly string[]
  readonly truncated: boolean
  /** The last key or common prefix shown. */
  readonly lastName: string | undefined
}

/** @param sorted entries in the order of their keys */
export async function paginate<E, T>(
  sorted: readonly E[],
  request: PageRequest<E, T>,
): Promise<Page<T>> {
  const { keyOf, prefix, delimiter, maxItems, isAfterMarker, marker, loadItem } = request
  const items: T[] = []
  const prefixes: string[] = []
  let lastName: string | undefined
  for (const entry of sorted) {
    const key = keyOf(entry)
    if (!key.startsWith(prefix)) continue
    const common = commonPrefix(key, prefix, delimiter)
    if (!isAfterMarker(entry)) continue
    // a marker that is a common prefix stands for all keys under it
    if (common !== undefined && (common === marker || common === prefixes.at(-1))) continue
    const item = await loadItem(entry)
    if (item === undefined) continue
    if (items.length + prefixes.length === maxItems)
      return { items, prefixes, truncated: true, lastName }
    if (common === undefined) items.push(item)
    else prefixes.push(common)
    lastName = common ?? key
  }
  return { items, prefixes, truncated: false, lastName }
}

function commonPrefix(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '') return undefined
  const index = key.indexOf(delimiter, prefix.length)
  return index === -1 ? undefined : key.slice(0, index + delimiter.length)
}

/** Surrogates, and what UTF-16 sorts behind them and UTF-8 before. */
const SURROGATES_AND_ABOVE = /[\ud800-\uffff]/

/** The order of OSS: by the bytes of UTF-8, which JavaScript's own order is not for rare characters. */
export function compareKeys(a: string, b: string): number {
  if (!SURROGATES_AND_ABOVE.test(a) && !SURROGATES_AND_ABOVE.test(b))
    return a < b ? -1 : a > b ? 1 : 0
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

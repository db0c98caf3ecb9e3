/**
 * Pagination in OSS's order, shared by objects and uploads, with prefix, delimiter, marker and maximum.
 * Pure except for `loadItem`, which may find that an entry no longer exists.
 */

/** Page to select from a sorted list. */
export interface PageRequest<E, T> {
  readonly keyOf: (entry: E) => string
  readonly prefix: string
  readonly delimiter: string
  /** Maximum number of items and common prefixes together. */
  readonly maxItems: number
  /** Whether an entry comes after the marker. */
  readonly isAfterMarker: (entry: E) => boolean
  /** Marker, a key or common prefix; '' for none. */
  readonly marker: string
  /** Resolves with the item of an entry; undefined if it no longer exists. */
  readonly loadItem: (entry: E) => Promise<T | undefined>
}

/** A page of a list. */
export interface Page<T> {
  readonly items: readonly T[]
  /** Common prefixes, each once, in order. */
  readonly prefixes: readonly string[]
  readonly truncated: boolean
  /** Last key or common prefix on the page. */
  readonly lastName: string | undefined
}

/**
 * Selects a page of a list.
 *
 * @param sorted – entries in the order of their keys
 */
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

/** Surrogates, and the characters that UTF-16 sorts after them but UTF-8 sorts before. */
const SURROGATES_AND_ABOVE = /[\ud800-\uffff]/

/** Compares keys by their UTF-8 bytes, like OSS. JavaScript's own order differs for rare characters. */
export function compareKeys(a: string, b: string): number {
  if (!SURROGATES_AND_ABOVE.test(a) && !SURROGATES_AND_ABOVE.test(b))
    return a < b ? -1 : a > b ? 1 : 0
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

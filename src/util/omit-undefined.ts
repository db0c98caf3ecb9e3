/** Removal of undefined properties. */

/** Returns a shallow copy of `object` without undefined properties, so that it equals its JSON round trip. */
export function omitUndefined<T extends object>(
  object: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // The result type describes exactly this removal.
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

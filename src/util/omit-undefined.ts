/** Objects without their undefined properties. */

/** A shallow copy of `object` without undefined properties, so that it is equal after a JSON round trip. */
export function omitUndefined<T extends object>(
  object: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // Removing `undefined` values is just what the result type says.
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

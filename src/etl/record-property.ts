/**
 * Returns a property of a record. Getters of classes count. Members of every object, such as `constructor`, do not.
 * @returns `undefined` if there is no such property
 */
export function recordProperty(record: object, name: string): unknown {
  if (name in Object.prototype && !Object.hasOwn(record, name)) return undefined
  return (record as Readonly<Record<string, unknown>>)[name] // any name may be absent
}

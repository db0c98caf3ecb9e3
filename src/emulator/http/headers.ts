/**
 * Request headers as a map from lower-case name to value. Values are as read by Node, one character per
 * byte (latin1). They are stored, signed and returned as bytes, so they must not be re-encoded. Repeated
 * headers are joined with a comma without a space, as clients sign them.
 */

/** Headers by lower-case name. */
export type HeaderMap = ReadonlyMap<string, string>

/** Creates the map from Node's `rawHeaders` (name, value, name, value, ...). */
export function headerMap(raw: readonly string[]): HeaderMap {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase() // in range: see the loop condition
    const value = raw[i + 1]!.trim()
    const earlier = headers.get(name)
    headers.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  return headers
}

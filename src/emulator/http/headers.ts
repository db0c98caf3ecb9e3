/**
 * Request headers as a map from lower-case name to value. Values are what Node reads from the
 * wire: one character per byte (latin1). They are stored, signed and sent back as bytes, so they
 * must not be re-coded. Repeated headers are joined with a bare comma, as clients sign them.
 */

/** Headers by lower-case name. */
export type HeaderMap = ReadonlyMap<string, string>

/** From Node's `rawHeaders` (name, value, name, value, ...). */
export function headerMap(raw: readonly string[]): HeaderMap {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase() // the loop's condition
    const value = raw[i + 1]!.trim()
    const earlier = headers.get(name)
    headers.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  return headers
}

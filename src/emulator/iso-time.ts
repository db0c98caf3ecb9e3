/** Times in XML. The service has whole seconds there, and oss2 for Python accepts nothing else. */

/** Formats milliseconds since the epoch as ISO 8601 in UTC, rounded down to a second: `2026-01-02T03:04:05.000Z`. */
export function isoTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString()
}

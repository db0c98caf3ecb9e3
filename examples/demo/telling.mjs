/** How the demo speaks: one line for what happened, with the time; numbers as people read them. */
const startedAt = performance.now()

/** What happened now. */
export function tell(text) {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${seconds.padStart(5)} s  ${text}`)
}

/** More about it. */
export function note(text) {
  console.log(`         ${text}`)
}

export function size(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} KB` : `${(bytes / 1e6).toFixed(1)} MB`
}

export function count(bytes) {
  return bytes.toLocaleString('en')
}

/** Ends the demo unless `holds`. */
export function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise)
}

/** Output of the demo: one line per step, with the time; numbers in human-readable form. */
const startedAt = performance.now()

/** Prints a step, with the seconds since the start. */
export function logStep(text) {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${seconds.padStart(5)} s  ${text}`)
}

/** Prints a detail of the last step. */
export function logDetail(text) {
  console.log(`         ${text}`)
}

export function size(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} KB` : `${(bytes / 1e6).toFixed(1)} MB`
}

export function count(bytes) {
  return bytes.toLocaleString('en')
}

/** Fails the demo with `message` unless `condition` holds. */
export function expect(condition, message) {
  if (!condition) throw new Error(message)
}

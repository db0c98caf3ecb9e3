/** Names of flags. */

/** Converts the name of a setting to its flag: `partSize` → `--part-size`. */
export function toFlag(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** Words of commands: names of flags, and quoting. */

/** Converts the name of a setting to its flag: `partSize` → `--part-size`. */
export function toFlag(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** Quotes a word for a shell, if necessary. */
export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

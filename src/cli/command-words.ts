/** Words of commands: names of settings and flags, and quoting. */

/** Settings that select an OSS and say how to reach it. */
export const CONNECTION_SETTINGS = [
  'local',
  'endpoint',
  'region',
  'internal',
  'cname',
  'pathStyle',
  'requestPayer',
] as const

/** Converts the name of a setting to its flag: `partSize` → `--part-size`. */
export function toFlag(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** Quotes a word for a shell, if necessary. */
export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

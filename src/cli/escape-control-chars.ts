/** Makes external text (keys, messages, paths) safe to print on a terminal. */

/** Escapes control characters, so that a key cannot move the cursor or break a line. */
export function escapeControlChars(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, character =>
    character === '\n' ? ' ' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** Formats `value` as JSON on one line. Escapes U+007F to U+009F, which `JSON.stringify` leaves as they are. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\u009f]/g,
    character => `\\u00${character.charCodeAt(0).toString(16)}`,
  )
}

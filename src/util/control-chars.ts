/**
 * Makes external text (keys, messages, paths) safe to print: `escapeControlChars` for people, `toJsonLine` for
 * programs.
 */

/**
 * Control characters, line and paragraph separators, and the controls of bidirectional text, which make a line read
 * differently from what it says.
 */
const CONTROLS = /[\p{Cc}\u061C\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu

/** Escapes control characters, so that a key cannot move the cursor, break a line or reorder it. */
export function escapeControlChars(text: string): string {
  return text.replaceAll(CONTROLS, character =>
    character === '\n' ? ' ' : escapeCode(character.charCodeAt(0)),
  )
}

function escapeCode(code: number): string {
  return code <= 0xff
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`
}

/** Replaces runs of control characters by a space. */
export function stripControlChars(text: string): string {
  return text.replaceAll(new RegExp(`(?:${CONTROLS.source})+`, 'gu'), ' ')
}

/** Formats `value` as JSON on one line, with all control characters escaped, unlike `JSON.stringify`. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    CONTROLS,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

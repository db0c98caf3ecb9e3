/** Makes external text (keys, messages, paths) safe to print on a terminal. */

/** Escapes control characters, so that a key cannot move the cursor or break a line. */
export function escapeControlChars(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, character =>
    character === '\n' ? ' ' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** Texts from elsewhere (keys, messages, paths) as a terminal can show them. */

/** Control characters are spelt out: a key must not move the cursor or end a line. */
export function escapeControlChars(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, character =>
    character === '\n' ? ' ' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

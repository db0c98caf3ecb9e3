/**
 * Lines of JSON text. `JSON.parse` names no line on every Node version, and quotes the text, which may contain secrets.
 */
import { quoteHarmless } from '../util/secret-mask.js'

/** A JSON object and the line of each of its keys. */
export interface JsonObjectLines {
  readonly value: Readonly<Record<string, unknown>>
  readonly lines: ReadonlyMap<string, number>
}

/** A mistake in JSON text. The message names line and column and never quotes the text. */
export class JsonTextError extends Error {
  override readonly name = 'JsonTextError'

  constructor(text: string, at: number, expected: string) {
    const before = text.slice(0, at).split('\n')
    super(`line ${before.length}, column ${(before.at(-1) ?? '').length + 1}: ${expected}`)
  }
}

/** Levels of nesting. A configuration needs two. */
const MAX_DEPTH = 50

/** Parses text that is a JSON object. @throws JsonTextError */
export function parseJsonObject(text: string): JsonObjectLines {
  const scanner = new Scanner(text.replace(/^\uFEFF/, ''))
  const lines = scanner.scanDocument()
  return { value: JSON.parse(scanner.text), lines }
}

/** Checks the syntax of JSON (RFC 8259) and collects the keys of the outermost object. */
class Scanner {
  readonly text: string
  readonly #keyLines = new Map<string, number>()
  #at = 0

  constructor(text: string) {
    this.text = text
  }

  scanDocument(): ReadonlyMap<string, number> {
    this.#skipSpace()
    if (this.text[this.#at] !== '{') this.#fail('expected {')
    this.#scanValue(0)
    if (this.#at < this.text.length) this.#fail('expected the end of the file')
    return this.#keyLines
  }

  #scanValue(depth: number): void {
    if (depth > MAX_DEPTH) this.#fail('nested too deeply')
    this.#skipSpace()
    if (this.#takes('{')) this.#scanItems('}', () => this.#scanProperty(depth))
    else if (this.#takes('[')) this.#scanItems(']', () => this.#scanValue(depth + 1))
    else if (this.text[this.#at] === '"') this.#scanString()
    else if (this.#match(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y) === '') {
      this.#fail('expected a value')
    }
    this.#skipSpace()
  }

  #scanItems(end: string, scanItem: () => void): void {
    this.#skipSpace()
    if (this.#takes(end)) return
    do scanItem()
    while (this.#takes(','))
    if (!this.#takes(end)) this.#fail(`expected a comma or ${end}`)
  }

  #scanProperty(depth: number): void {
    this.#skipSpace()
    const start = this.#at
    if (this.text[start] !== '"') this.#fail('expected a name in double quotes')
    const key = String(JSON.parse(this.#scanString()))
    if (depth === 0) {
      if (this.#keyLines.has(key)) {
        throw new JsonTextError(this.text, start, `${quoteHarmless(key)} is set twice`)
      }
      this.#keyLines.set(key, this.text.slice(0, start).split('\n').length)
    }
    this.#skipSpace()
    if (!this.#takes(':')) this.#fail('expected a colon')
    this.#scanValue(depth + 1)
  }

  #scanString(): string {
    const string = this.#match(
      /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy,
    )
    if (string === '') this.#fail('expected a string that ends on its line and has valid escapes')
    return string
  }

  #skipSpace(): void {
    this.#match(/[ \t\r\n]*/y)
  }

  #takes(char: string): boolean {
    if (this.text[this.#at] !== char) return false
    this.#at++
    return true
  }

  /** Returns the match of a sticky expression at this place, or an empty string. */
  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const [match = ''] = pattern.exec(this.text) ?? []
    this.#at += match.length
    return match
  }

  #fail(expected: string): never {
    throw new JsonTextError(this.text, this.#at, expected)
  }
}

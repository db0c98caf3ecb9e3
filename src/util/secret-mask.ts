/**
 * Masks secrets in text from outside: replies of a server, messages of the system, arguments of a command line. Finds
 * a secret as a whole or in pieces, since others cut text, and in the encodings in which servers echo a request:
 * percent-encoding, base64 (of the secret alone or within a longer text), hex, and the escapes of XML and JSON.
 */

/**
 * Length of the shortest piece of a secret that is masked. Shorter ones occur in ordinary words by chance, and tell
 * little: the secret of an access key has 30 characters.
 */
const PIECE_LENGTH = 8
/** Hex digits are few, so that a short piece would occur by chance in the digests of parts. */
const HEX_PIECE_LENGTH = 16
/** Secrets below `PIECE_LENGTH` are masked only as a whole, like those of words; shorter ones are not masked. */
const MIN_LENGTH = 4
/** Secrets that are remembered. Temporary credentials are replaced about once an hour, and three belong together. */
const MAX_SECRETS = 48
/** Levels of encoding that are undone. A proxy may encode again what is already encoded. */
const MAX_DECODINGS = 3

const MASK = '***'

/** One encoded character: percent-encoded, as an entity of XML, or escaped as in JSON. */
const ENCODED =
  /%(?<percent>[0-9a-f]{2})|&#x(?<hex>[0-9a-f]{1,6});|&#(?<decimal>\d{1,7});|&(?<entity>amp|lt|gt|quot|apos);|\\u(?<json>[0-9a-f]{4})|\\(?<escaped>["\\/])/gi

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
}

/** Text, and where each of its characters starts in the original text. Has one more start for its end. */
interface DecodedText {
  readonly text: string
  /** `undefined` for the original text itself. */
  readonly starts: Uint32Array | undefined
}

/** Remembers secrets, including replaced ones, and masks them. */
export class SecretMask {
  readonly #secrets = new Set<string>()
  #pieces: { readonly any: ReadonlySet<string>; readonly hex: ReadonlySet<string> } | undefined

  /** Adds secrets. The oldest ones are forgotten. */
  add(...secrets: readonly unknown[]): void {
    for (const secret of secrets) {
      if (typeof secret !== 'string' || secret.length < MIN_LENGTH) continue
      if (this.#secrets.has(secret)) continue
      this.#secrets.add(secret)
      this.#pieces = undefined
      const [oldest = ''] = this.#secrets
      if (this.#secrets.size > MAX_SECRETS) this.#secrets.delete(oldest)
    }
  }

  /** Returns `text` with each secret, and each piece of one, replaced by `***`. Takes time linear in the text. */
  mask(text: string): string {
    const hidden = this.#find(text)
    if (hidden === undefined) return text
    const kept: string[] = []
    let start = 0
    for (let at = 0; at < text.length; at++) {
      if (hidden[at] === 0) continue
      if (at > start || at === 0) kept.push(text.slice(start, at))
      if (at === 0 || hidden[at - 1] === 0) kept.push(MASK)
      start = at + 1
    }
    return kept.join('') + text.slice(start)
  }

  /** Returns whether `text` contains a secret or a piece of one. */
  isIn(text: string): boolean {
    return this.#find(text) !== undefined
  }

  /** Returns a copy of JSON data, in which all strings and names are masked. */
  maskData(data: unknown, depth = 0): unknown {
    if (typeof data === 'string') return this.mask(data)
    if (typeof data !== 'object' || data === null) return data
    if (depth > MAX_DEPTH) return MASK
    if (Array.isArray(data)) return data.map(item => this.maskData(item, depth + 1))
    return Object.fromEntries(
      Object.entries(data).map(([name, value]) => [
        this.mask(name),
        this.maskData(value, depth + 1),
      ]),
    )
  }

  /** Returns 1 for each character of `text` to mask, or `undefined` if there is none. */
  #find(text: string): Uint8Array | undefined {
    if (this.#secrets.size === 0) return undefined
    let hidden: Uint8Array | undefined
    const hide = ({ starts }: DecodedText, from: number, to: number): void => {
      hidden ??= new Uint8Array(text.length)
      hidden.fill(1, starts?.[from] ?? from, starts?.[to] ?? to)
    }
    let decoded: DecodedText | undefined = { text, starts: undefined }
    for (let i = 0; decoded !== undefined && i <= MAX_DECODINGS; i++) {
      this.#search(decoded, hide)
      decoded = decode(decoded)
    }
    return hidden
  }

  #search(
    decoded: DecodedText,
    hide: (decoded: DecodedText, from: number, to: number) => void,
  ): void {
    const { any, hex } = (this.#pieces ??= piecesOf(this.#secrets))
    const text = fold(decoded.text)
    for (const [pieces, length] of [
      [any, PIECE_LENGTH],
      [hex, HEX_PIECE_LENGTH],
    ] as const) {
      let hiddenTo = 0
      for (let at = 0; at + length <= text.length; at++) {
        if (!pieces.has(text.slice(at, at + length))) continue
        hide(decoded, Math.max(at, hiddenTo), at + length)
        hiddenTo = at + length
      }
    }
    for (const secret of this.#secrets) {
      let at = decoded.text.indexOf(secret)
      for (; at >= 0; at = decoded.text.indexOf(secret, at + secret.length)) {
        hide(decoded, at, at + secret.length)
      }
    }
  }
}

/** Levels of nesting in JSON data of a server. */
const MAX_DEPTH = 100

/** All pieces of the secrets in every form that decoding does not undo. */
function piecesOf(secrets: Iterable<string>): { any: Set<string>; hex: Set<string> } {
  const any = new Set<string>()
  const hex = new Set<string>()
  for (const secret of secrets) {
    if (secret.length < PIECE_LENGTH) continue
    addPieces(any, secret, PIECE_LENGTH)
    addPieces(hex, Buffer.from(secret).toString('hex'), HEX_PIECE_LENGTH)
    for (const form of base64Forms(secret)) addPieces(any, form, PIECE_LENGTH)
  }
  return { any, hex }
}

function addPieces(pieces: Set<string>, form: string, length: number): void {
  for (let at = 0; at + length <= form.length; at++) {
    const piece = form.slice(at, at + length)
    if (!WORDS.test(piece)) pieces.add(fold(piece))
  }
}

/** A piece of words, as in the keys of test servers, occurs in messages by chance. Random text rarely has one. */
const WORDS = /^[a-z-]+$/

/** Returns the base64 of a secret behind 0, 1 and 2 bytes, without the characters that depend on the bytes around it. */
function base64Forms(secret: string): string[] {
  return [0, 1, 2].map(before => {
    const bytes = Buffer.from('\0'.repeat(before) + secret)
    const text = bytes.toString('base64')
    return text.slice(before === 0 ? 0 : before + 1, Math.floor((bytes.length * 8) / 6))
  })
}

/** Ignores case, since host names lose it, and the difference between the two alphabets of base64. */
function fold(text: string): string {
  return text.replace(/[A-Z_-]+/g, part =>
    part.toLowerCase().replaceAll('-', '+').replaceAll('_', '/'),
  )
}

/** Undoes one level of encoding. Returns `undefined` if nothing is encoded. */
function decode({ text, starts }: DecodedText): DecodedText | undefined {
  const parts: string[] = []
  const offsets = new Uint32Array(text.length + 1)
  let length = 0
  let end = 0
  const copy = (to: number): void => {
    parts.push(text.slice(end, to))
    for (let at = end; at < to; at++) offsets[length++] = starts?.[at] ?? at
  }
  for (const match of text.matchAll(ENCODED)) {
    const character = characterOf(match.groups ?? {})
    copy(match.index)
    parts.push(character)
    for (let i = 0; i < character.length; i++)
      offsets[length++] = starts?.[match.index] ?? match.index
    end = match.index + match[0].length
  }
  if (end === 0) return undefined
  copy(text.length)
  offsets[length] = starts?.[text.length] ?? text.length
  return { text: parts.join(''), starts: offsets }
}

function characterOf(groups: Readonly<Record<string, string | undefined>>): string {
  const { percent, hex, decimal, entity, json, escaped } = groups
  if (escaped !== undefined) return escaped
  if (entity !== undefined) return ENTITIES[entity.toLowerCase()] ?? ''
  const code =
    decimal === undefined
      ? Number.parseInt(percent ?? hex ?? json ?? '', 16)
      : Number.parseInt(decimal, 10)
  return code <= 0xff_ff ? String.fromCharCode(code) : '\u{FFFD}'
}

/** The access key ids, secrets and tokens of OSS have no gaps and are longer than words. */
const LONG_RUN = /[^\s.:-]{16,}/
const LONG_RUNS = new RegExp(LONG_RUN, 'g')

/**
 * Quotes a value that was rejected, for an error. A value that may be a secret in the wrong place is described instead:
 * one with a long run of letters and digits, with a user name or password, or with the flag of another tool.
 */
export function quoteHarmless(text: string): string {
  if (/^-[^-]./.test(text)) return `"${text.slice(0, 2)}..."`
  if (LONG_RUN.test(text) || /[:@].*@|:[^/:]*[:@]/.test(text)) {
    return `a string of ${text.length} characters`
  }
  return JSON.stringify(text)
}

/** Replaces words that may be secrets in a text that quotes arguments. */
export function hideLongWords(text: string): string {
  return text.replaceAll(LONG_RUNS, '...')
}

/** Variables of access keys, here and in the tools of Alibaba Cloud, and of the passwords of Redis. */
const KEY_VARIABLE =
  /ACCESS_?KEY_?(?:ID|SECRET)$|(?:SESSION|SECURITY|STS)_?TOKEN$|REDIS_(?:SENTINEL_)?PASSWORD$/i
/** Variables whose URL may contain a password. */
const URL_VARIABLE =
  /^(?:(?:HTTPS?|ALL)_PROXY|(?:OSS_SPOOL_)?REDIS(?:_URL)?|OSS_(?:SPOOL_)?ENDPOINT)$/i

/** Returns the keys and passwords in the environment. */
export function environmentSecrets(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (KEY_VARIABLE.test(name)) return [value.trim()]
    return URL_VARIABLE.test(name) ? passwordsOf(value) : []
  })
}

/** Returns the password of a URL, which may have several hosts, as it is written and decoded. */
export function passwordsOf(url: string): string[] {
  const password = /^[\w+.-]+:\/\/[^:/?#]*:([^/?#]*)@/.exec(url)?.[1]
  if (password === undefined) return []
  try {
    return [password, decodeURIComponent(password)]
  } catch {
    return [password] // a stray percent sign
  }
}

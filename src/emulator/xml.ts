/**
 * XML as OSS writes it: a declaration, no `xmlns`, two spaces of indent, double quotes in text left
 * as they are (clients compare ETags with their quotes), one element per array item.
 */

/** What an element may hold: text, elements, or several elements of one name. `undefined`: left out. */
export type XmlValue =
  | string
  | number
  | boolean
  | undefined
  | { readonly [name: string]: XmlValue }
  | readonly XmlValue[]

/** The document with `root` around `content`; the order of the properties is that of the elements. */
export function xmlDocument(root: string, content: XmlValue): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${renderElement(root, content, '')}`
}

function renderElement(name: string, value: XmlValue, indent: string): string {
  if (value === undefined) return ''
  if (isXmlList(value)) return value.map(item => renderElement(name, item, indent)).join('')
  if (typeof value !== 'object') return `${indent}<${name}>${escapeXml(String(value))}</${name}>\n`
  const children = Object.entries(value).map(([child, inner]) =>
    renderElement(child, inner, `${indent}  `),
  )
  return `${indent}<${name}>\n${children.join('')}${indent}</${name}>\n`
}

// Array.isArray() does not narrow readonly arrays
function isXmlList(value: XmlValue): value is readonly XmlValue[] {
  return Array.isArray(value)
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/**
 * Text as element content. Control characters become references: tab and newlines survive the
 * client's parser that way; the others are illegal in XML 1.0 (ask for `encoding-type=url`).
 */
export function escapeXml(text: string): string {
  return text.replace(
    // oxlint-disable-next-line no-control-regex -- they are what this is about
    /[&<>\u0000-\u001f\u007f]/g,
    char => ENTITIES[char] ?? `&#${char.charCodeAt(0)};`,
  )
}

/**
 * XML in the form that OSS writes: a declaration, no `xmlns`, an indent of two spaces, unescaped double
 * quotes in text (clients compare ETags including quotes), one element per array item.
 */

/** Content of an element: text, child elements, or a list of elements of one name; `undefined` omits it. */
export type XmlValue =
  | string
  | number
  | boolean
  | undefined
  | { readonly [name: string]: XmlValue }
  | readonly XmlValue[]

/** Renders a document with the root element `root`. Elements are in the order of the properties. */
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

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

/**
 * Escapes text for use in an element. Tabs and line ends become references, so that they survive the client's parser.
 * Other control characters stay as they are, which `ali-oss` reads; it refuses references to them, and either form is
 * illegal in XML 1.0 (use `encoding-type=url`).
 */
export function escapeXml(text: string): string {
  return text.replace(/[&<>\t\n\r]/g, char => ENTITIES[char] ?? char)
}

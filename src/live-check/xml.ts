/** Reads the XML of OSS, which has no attributes besides `xmlns` and no mixed content. */
import { XMLParser } from 'fast-xml-parser'

/** Name under which the parser keeps the text of an element that has children: the space between them. */
const TEXT = '#text'

const PARSER = new XMLParser({
  ignoreDeclaration: true,
  parseTagValue: false,
  trimValues: false,
  textNodeName: TEXT,
})

/** Elements with text, by their paths: `Error/Code`, or `ListPartsResult/Part[2]/Size` for a repeated element. */
export function flattenXml(xml: string): Map<string, string> {
  const texts = new Map<string, string>()
  collect(parse(xml), '', texts)
  return texts
}

/** Returns the elements by their names; none if the text is no XML. */
function parse(xml: string): unknown {
  try {
    return PARSER.parse(xml)
  } catch {
    return {}
  }
}

function collect(element: unknown, path: string, texts: Map<string, string>): void {
  if (typeof element !== 'object' || element === null) {
    if (path !== '') texts.set(path, String(element))
    return
  }
  for (const [name, value] of Object.entries(element)) {
    if (name === TEXT) continue
    for (const [i, child] of [value].flat().entries()) {
      const step = i === 0 ? name : `${name}[${i + 1}]`
      collect(child, path === '' ? step : `${path}/${step}`, texts)
    }
  }
}

/** Returns the text of the first element of that name. */
export function elementText(xml: string, name: string): string | undefined {
  return elementTexts(xml, name)[0]
}

export function elementTexts(xml: string, name: string): string[] {
  return [...flattenXml(xml)].flatMap(([path, text]) =>
    path
      .split('/')
      .at(-1)
      ?.replace(/\[\d+\]$/, '') === name
      ? [text]
      : [],
  )
}

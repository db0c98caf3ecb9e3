/** Reads the XML of OSS, which has no attributes besides `xmlns` and no mixed content. */

const ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&apos;': "'",
  '&amp;': '&',
}

/** Elements with text, by their paths: `Error/Code`, or `ListPartsResult/Part[2]/Size` for a repeated element. */
export function flattenXml(xml: string): Map<string, string> {
  const texts = new Map<string, string>()
  const open: { readonly path: string; readonly counts: Map<string, number> }[] = []
  const rootCounts = new Map<string, number>()
  let textStart = 0
  for (const tag of xml.matchAll(/<(\/?)([^\s<>/?!]+)(?:[\s/][^<>]*)?>/g)) {
    const [whole, closing, name = ''] = tag
    if (closing === '') {
      const counts = open.at(-1)?.counts ?? rootCounts
      const count = (counts.get(name) ?? 0) + 1
      counts.set(name, count)
      const parent = open.at(-1)?.path
      const step = count === 1 ? name : `${name}[${count}]`
      const path = parent === undefined ? step : `${parent}/${step}`
      if (whole.endsWith('/>')) texts.set(path, '')
      else open.push({ path, counts: new Map() })
    } else {
      const element = open.pop()
      if (element?.counts.size === 0)
        texts.set(element.path, unescape(xml.slice(textStart, tag.index)))
    }
    textStart = tag.index + whole.length
  }
  return texts
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

function unescape(text: string): string {
  return text.replaceAll(/&(?:lt|gt|quot|apos|amp);/g, entity => ENTITIES[entity] ?? entity)
}

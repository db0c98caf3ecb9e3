/**
 * XML that clients send. Parsed by fast-xml-parser (loaded when first needed: it is a tenth of a
 * second) with entities of the document itself refused, and read through a small view that does
 * not care whether a client sends one element or many.
 */
import { createHash } from 'node:crypto'
import { OssError } from '../oss-error.js'
import type { OperationContext } from './context.js'

/** Enough for 10,000 parts or 1000 keys of 1023 bytes, all of them percent-encoded. */
const MAX_XML_BYTES = 4 * 1024 * 1024

/** An element. */
export interface XmlElement {
  /** The text of the first child of this name; '' if it is empty, undefined if there is none. */
  text(name: string): string | undefined
  /** The first child of this name. */
  child(name: string): XmlElement | undefined
  /** All children of this name. */
  children(name: string): XmlElement[]
}

/**
 * The body as an element named `root`; 400 MalformedXML if it is something else.
 * @returns undefined for an empty body, which is refused unless `mayBeEmpty`
 */
export async function readXmlBody(
  context: OperationContext,
  root: string,
  mayBeEmpty = false,
): Promise<XmlElement | undefined> {
  const text = context.body.isPresent ? await context.body.readText(MAX_XML_BYTES) : ''
  checkContentMd5(context, text)
  if (text.trim() === '') {
    if (mayBeEmpty) return undefined
    throw new OssError('MalformedXML')
  }
  return parseXml(text, root)
}

function checkContentMd5({ headers }: OperationContext, text: string): void {
  const md5 = headers.get('content-md5')
  if (md5 === undefined) return
  if (createHash('md5').update(text).digest('base64') !== md5)
    throw new OssError('InvalidDigest', { ec: '0017-00000503' })
}

/** Parses a document; 400 MalformedXML if it is none, or its root has another name. */
export async function parseXml(text: string, root: string): Promise<XmlElement> {
  if (/<!DOCTYPE|<!ENTITY/i.test(text)) throw new OssError('MalformedXML')
  const { XMLParser, XMLValidator } = await import('fast-xml-parser')
  if (XMLValidator.validate(text) !== true) throw new OssError('MalformedXML')
  const parser = new XMLParser({
    ignoreAttributes: true,
    ignoreDeclaration: true,
    parseTagValue: false,
    trimValues: false,
    // the five of XML and character references: a document cannot define any (see above)
    processEntities: {
      enabled: true,
      maxTotalExpansions: 1_000_000,
      maxExpandedLength: MAX_XML_BYTES,
    },
    htmlEntities: true,
  })
  const document = orMalformedXml(() => parser.parse(text) as ParsedXml)
  const value =
    typeof document === 'object' && !Array.isArray(document) ? document[root] : undefined
  if (value === undefined || Array.isArray(value)) throw new OssError('MalformedXML')
  return toXmlElement(value)
}

/** The parser finds faults that its validator does not. */
function orMalformedXml<T>(parse: () => T): T {
  try {
    return parse()
  } catch {
    throw new OssError('MalformedXML')
  }
}

/** What the parser makes with these options: elements as objects, lists of them, or text. */
type ParsedXml = string | { readonly [name: string]: ParsedXml } | ParsedXml[]

function toXmlElement(parsed: ParsedXml): XmlElement {
  const childrenNamed = (name: string): ParsedXml[] => {
    if (typeof parsed === 'string' || Array.isArray(parsed) || !Object.hasOwn(parsed, name))
      return []
    const found = parsed[name] ?? []
    return Array.isArray(found) ? found : [found]
  }
  const firstChild = (name: string) => childrenNamed(name)[0]
  return {
    text(name) {
      const found = firstChild(name)
      return found === undefined || typeof found === 'string' ? found : ''
    },
    child(name) {
      const found = firstChild(name)
      return found === undefined ? undefined : toXmlElement(found)
    },
    children: name => childrenNamed(name).map(toXmlElement),
  }
}

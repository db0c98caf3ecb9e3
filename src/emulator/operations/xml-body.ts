/**
 * XML bodies of requests. Parsed by fast-xml-parser, which is loaded on first use because that takes 0.1 s.
 * Documents that declare entities are rejected. `XmlElement` hides whether a client sends one element or
 * many.
 */
import { createHash } from 'node:crypto'
import { OssError } from '../oss-error.js'
import type { OperationContext } from './operation-context.js'

/** Maximum size of a body. Enough for 10,000 parts or 1000 percent-encoded keys of 1023 bytes. */
const MAX_XML_BYTES = 4 * 1024 * 1024

/** An XML element. */
export interface XmlElement {
  /** Returns the text of the first child of this name; '' if it is empty, undefined if there is none. */
  text(name: string): string | undefined
  /** Returns the texts of all children of this name. */
  texts(name: string): string[]
  /** Returns the first child of this name. */
  child(name: string): XmlElement | undefined
  /** Returns all children of this name. */
  children(name: string): XmlElement[]
}

/**
 * Parses the body, whose root element must be `root`; throws 400 MalformedXML.
 *
 * @param mayBeEmpty – accepts an empty body, default false
 * @returns the root element; undefined for an empty body
 */
export async function readXmlBody(
  context: OperationContext,
  root: string,
  mayBeEmpty = false,
): Promise<XmlElement | undefined> {
  const text = await readXmlText(context)
  if (text === '') {
    if (mayBeEmpty) return undefined
    throw new OssError('MalformedXML')
  }
  return parseXml(text, root)
}

/** Reads the body as text and checks its Content-MD5. */
export async function readTextBody(context: OperationContext): Promise<string> {
  const text = context.body.isPresent ? await context.body.readText(MAX_XML_BYTES) : ''
  checkContentMd5(context, text)
  return text
}

/** Reads the body like `readTextBody`, without the white space around it, which the service accepts. */
export async function readXmlText(context: OperationContext): Promise<string> {
  return (await readTextBody(context)).trim()
}

function checkContentMd5({ headers }: OperationContext, text: string): void {
  const md5 = headers.get('content-md5')
  if (md5 === undefined) return
  if (createHash('md5').update(text).digest('base64') !== md5)
    throw new OssError('InvalidDigest', { ec: '0017-00000503' })
}

/** Parses a document whose root element must be `root`; throws 400 MalformedXML. */
export async function parseXml(document: string, root: string): Promise<XmlElement> {
  if (/<!DOCTYPE|<!ENTITY/i.test(document)) throw new OssError('MalformedXML')
  const { XMLParser, XMLValidator } = await import('fast-xml-parser')
  if (XMLValidator.validate(document) !== true) throw new OssError('MalformedXML')
  const text = keepControlCharacters(document)
  const parser = new XMLParser({
    ignoreAttributes: true,
    ignoreDeclaration: true,
    parseTagValue: false,
    trimValues: false,
    // the five predefined entities and character references; documents that declare others are rejected above
    processEntities: {
      enabled: true,
      maxTotalExpansions: 1_000_000,
      maxExpandedLength: MAX_XML_BYTES,
    },
    htmlEntities: true,
  })
  const parsed = orMalformedXml(() => parser.parse(text) as ParsedXml)
  const value = typeof parsed === 'object' && !Array.isArray(parsed) ? parsed[root] : undefined
  if (value === undefined || Array.isArray(value)) throw new OssError('MalformedXML')
  return toXmlElement(value)
}

/**
 * Keeps control characters, so that no key becomes the key of another object: the parser drops references to them, and
 * reads a carriage return as a newline. Throws 400 MalformedXML for references to no character, for unknown
 * entities, and for carriage returns in CDATA sections. References in these sections are text.
 */
function keepControlCharacters(document: string): string {
  return document
    .split('<![CDATA[')
    .map((section, i) => {
      const textStart = i === 0 ? 0 : section.indexOf(']]>')
      const data = section.slice(0, textStart)
      if (data.includes('\r')) throw new OssError('MalformedXML')
      return data + keepCarriageReturns(decodeReferences(section.slice(textStart)))
    })
    .join('<![CDATA[')
}

function keepCarriageReturns(text: string): string {
  return text.replace(/<[^<>]*>|\r/g, found => (found === '\r' ? '&#13;' : found))
}

function decodeReferences(text: string): string {
  return text.replace(/&([^;&<\s]*);?/g, (reference: string, name: string) => {
    if (/^(amp|lt|gt|quot|apos)$/.test(name)) return reference
    const [, hex, decimal] = /^#(?:x([0-9a-f]{1,6})|(\d{1,7}))$/i.exec(name) ?? []
    const codePoint = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    const isCharacter = codePoint > 0 && codePoint <= 0x10ffff && (codePoint & ~0x7ff) !== 0xd800
    if (!isCharacter || !reference.endsWith(';')) throw new OssError('MalformedXML')
    // the parser keeps these three, and reads a plain carriage return as a newline
    const isDropped = codePoint < 0x20 && ![0x09, 0x0a, 0x0d].includes(codePoint)
    return isDropped ? String.fromCodePoint(codePoint) : reference
  })
}

/** Turns parser errors into 400 MalformedXML. The parser detects errors that its validator does not. */
function orMalformedXml<T>(parse: () => T): T {
  try {
    return parse()
  } catch {
    throw new OssError('MalformedXML')
  }
}

/** Output of the parser with these options: elements as objects, lists of them, or text. */
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
    texts: name => childrenNamed(name).map(found => (typeof found === 'string' ? found : '')),
    child(name) {
      const found = firstChild(name)
      return found === undefined ? undefined : toXmlElement(found)
    },
    children: name => childrenNamed(name).map(toXmlElement),
  }
}

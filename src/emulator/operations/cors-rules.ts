/** CORS rules: parses and checks the document, and finds the rule of a request. Pure but for the parser. */
import { OssError } from '../oss-error.js'
import { parseXml } from './xml-body.js'

/** A rule. Origins and headers may contain one `*`. */
export interface CorsRule {
  readonly origins: readonly string[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly exposedHeaders: readonly string[]
  readonly maxAgeSeconds: string | undefined
}

/** A request of a page, or the one that a preflight request announces. */
export interface CorsRequest {
  readonly origin: string
  readonly method: string
  /** Names of the headers that a page sets. */
  readonly headers: readonly string[]
}

/**
 * Returns the rules of a document. Throws 400 MalformedXML for methods, header names and ages that replies could not name.
 */
export async function parseCors(document: string): Promise<CorsRule[]> {
  const configuration = await parseXml(document, 'CORSConfiguration')
  return configuration.children('CORSRule').map(xml => {
    const texts = (name: string) => xml.texts(name).map(text => text.trim())
    const rule: CorsRule = {
      origins: texts('AllowedOrigin'),
      methods: texts('AllowedMethod'),
      headers: texts('AllowedHeader'),
      exposedHeaders: texts('ExposeHeader'),
      maxAgeSeconds: texts('MaxAgeSeconds')[0],
    }
    const { methods, exposedHeaders, maxAgeSeconds = '' } = rule
    if ([...methods, ...exposedHeaders, maxAgeSeconds].some(text => /[^\x20-\x7e]/.test(text)))
      throw new OssError('MalformedXML')
    return rule
  })
}

/** Returns the first rule that allows a request. Pure. */
export function matchingRule(
  rules: readonly CorsRule[],
  { origin, method, headers }: CorsRequest,
): CorsRule | undefined {
  return rules.find(
    rule =>
      rule.methods.includes(method) &&
      rule.origins.some(pattern => matchesPattern(pattern, origin)) &&
      headers.every(name => rule.headers.some(pattern => matchesPattern(pattern, name))),
  )
}

/** Compares case-insensitively; one `*` stands for any text. */
function matchesPattern(pattern: string, text: string): boolean {
  const [start = '', end] = pattern.toLowerCase().split('*', 2)
  const lower = text.toLowerCase()
  if (end === undefined) return lower === start
  return lower.length >= start.length + end.length && lower.startsWith(start) && lower.endsWith(end)
}

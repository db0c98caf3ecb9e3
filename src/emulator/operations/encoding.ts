/** `encoding-type=url`: names in XML percent-encoded, so that any character can travel. */
import { invalidArgument } from '../oss-error.js'
import { percentEncode } from '../http/target.js'
import type { Call } from './call.js'

/** How names go into the XML, and the element that says so. */
export interface NameEncoding {
  readonly encoding: { readonly EncodingType: string | undefined }
  readonly name: (text: string) => string
}

/** From the query; 400 for an encoding that does not exist. */
export function encodedKey({ query }: Pick<Call, 'query'>): NameEncoding {
  const type = query.get('encoding-type')
  if (type === undefined || type === '')
    return { encoding: { EncodingType: undefined }, name: text => text }
  if (type !== 'url') throw invalidArgument('encoding-type', type, 'The encoding-type must be url.')
  return { encoding: { EncodingType: type }, name: percentEncode }
}

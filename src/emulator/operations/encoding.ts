/** `encoding-type=url`: names in XML percent-encoded, so that any character can travel. */
import { invalidArgument } from '../oss-error.js'
import { encodeRfc3986 } from '../http/target.js'
import type { OperationContext } from './context.js'

/** How names go into the XML, and the element that says so. */
export interface NameEncoding {
  readonly encoding: { readonly EncodingType: string | undefined }
  readonly encodeName: (text: string) => string
}

/** From the query; 400 for an encoding that does not exist. */
export function readNameEncoding({ query }: Pick<OperationContext, 'query'>): NameEncoding {
  const type = query.get('encoding-type')
  if (type === undefined || type === '')
    return { encoding: { EncodingType: undefined }, encodeName: text => text }
  if (type !== 'url') throw invalidArgument('encoding-type', type, 'The encoding-type must be url.')
  return { encoding: { EncodingType: type }, encodeName: encodeRfc3986 }
}

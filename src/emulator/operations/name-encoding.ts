/** `encoding-type=url`, which percent-encodes names in XML, so that they can hold any character. */
import { invalidArgument } from '../oss-error.js'
import { encodeRfc3986 } from '../http/request-target.js'
import type { OperationContext } from './operation-context.js'

/** Encoding of names in XML, and the element that declares it. */
export interface NameEncoding {
  readonly encoding: { readonly EncodingType: string | undefined }
  readonly encodeName: (text: string) => string
}

/** Reads the encoding from the query; throws 400 InvalidArgument for an unknown one. */
export function readNameEncoding({ query }: Pick<OperationContext, 'query'>): NameEncoding {
  const type = query.get('encoding-type')
  if (type === undefined || type === '')
    return { encoding: { EncodingType: undefined }, encodeName: text => text }
  if (type !== 'url') throw invalidArgument('encoding-type', type, 'The encoding-type must be url.')
  return { encoding: { EncodingType: type }, encodeName: encodeRfc3986 }
}

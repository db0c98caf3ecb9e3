/** Operations: the requests they answer, the access they need, and their implementation. */
import type { Reply } from '../reply.js'
import type { OperationContext } from './operation-context.js'
import type { OperationName } from './operation-name.js'

/** Level of the resource that a request addresses. */
export type Level = 'service' | 'bucket' | 'object'

/**
 * Access that an operation needs. `read` and `write` are granted to anonymous requests by ACLs. `owner`
 * and `create` require a signature; `create` does not require the bucket to exist. `anyone` requires neither.
 */
export type Access = 'read' | 'write' | 'owner' | 'create' | 'anyone'

/** An operation and the requests that it answers. */
export interface Operation {
  readonly name: OperationName
  readonly method: string
  readonly level: Level
  /** Required query parameters; `name=value` if the value matters. */
  readonly query: readonly string[]
  /** Required header. */
  readonly header?: string
  readonly access: Access
  /** Whether the service reads the request as a PutBucket if the bucket is missing. */
  readonly putsBucket?: boolean
  readonly run: (context: OperationContext) => Promise<Reply>
}

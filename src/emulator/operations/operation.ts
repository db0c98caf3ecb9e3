/** What an operation is: which requests it answers, who may ask, and what it does. */
import type { Reply } from '../reply.js'
import type { OperationContext } from './context.js'
import type { OperationName } from './operation-name.js'

/** What a request is about. */
export type Level = 'service' | 'bucket' | 'object'

/**
 * Who may do it without a signature: whom the ACL lets read, whom it lets write, or nobody. `make`:
 * nobody, and the bucket need not exist.
 */
export type Access = 'read' | 'write' | 'owner' | 'create'

/** One line of the table. */
export interface Operation {
  readonly name: OperationName
  readonly method: string
  readonly level: Level
  /** Parameters that must be in the query; `name=value` where the value counts. */
  readonly query: readonly string[]
  /** A header that must be there. */
  readonly header?: string
  readonly access: Access
  readonly run: (context: OperationContext) => Promise<Reply>
}

/** What an operation is: which requests it answers, who may ask, and what it does. */
import type { Reply } from '../reply.js'
import type { Call } from './call.js'
import type { OperationName } from './name.js'

/** What a request is about. */
export type Level = 'service' | 'bucket' | 'object'

/**
 * Who may do it without a signature: whom the ACL lets read, whom it lets write, or nobody. `make`:
 * nobody, and the bucket need not exist.
 */
export type Access = 'read' | 'write' | 'owner' | 'make'

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
  readonly run: (call: Call) => Promise<Reply>
}

/** Opens the queue of a fleet for one command. */
import type { JobSource, UploadQueue } from '../../bullmq/index.js'
import { importQueueModule, openRedisOnce, type RedisFlags } from '../redis-connection.js'
import type { GlobalFlags, Session } from '../session.js'

/** Sources of the workers. Only those know their names and arguments. */
export type UnknownSources = Readonly<Record<string, JobSource<unknown>>>

/** Flags of every command of `jobs`. */
export type JobFlags = GlobalFlags & RedisFlags

/**
 * Opens the queue, and closes it at the end of the session.
 * @throws UsageError, or SpoolError `ERR_SPOOL_UNREADABLE` if Redis does not answer
 */
export async function openQueue(
  session: Session,
  flags: JobFlags,
): Promise<UploadQueue<UnknownSources>> {
  const { client, names } = await openRedisOnce(session, flags)
  const { UploadQueue: UploadQueueClass } = await importQueueModule()
  const { queue: name, queuePrefix: prefix } = names
  const queue = new UploadQueueClass<UnknownSources>({ connection: client, name, prefix })
  session.onClose(() => queue.close())
  return queue
}

/** The connection on which a worker of BullMQ waits for jobs. It reconnects on its own, later than that of the caller. */
import type { RedisQueueBackend } from 'bullmq'

/** Statuses of a client of ioredis that keeps trying to connect. */
const DISCONNECTED = new Set(['close', 'reconnecting', 'connecting'])

/**
 * Resolves once the blocking connection of a worker is connected, or will never be. BullMQ closes a worker by closing
 * this connection and waiting for its `end`. ioredis never emits `end` while it waits to reconnect, and BullMQ
 * abandons the active jobs if connecting fails.
 */
export async function whenBlockingConnected(
  backend: Pick<RedisQueueBackend, 'blockingClient'>,
): Promise<void> {
  const client = await backend.blockingClient?.catch(() => undefined)
  if (client === undefined) return
  while (DISCONNECTED.has(client.status)) {
    await new Promise(resolve => client.once('connect', resolve).once('end', resolve))
  }
}

/**
 * What is asked of a connection to Redis, and how long an answer is waited for. The client belongs to
 * whoever made it: `ioredis` is never loaded from here. Its errors may carry the arguments of a command,
 * a password among them, so only their texts are handed on.
 */

/** An `ioredis` client, or what has its `call`; one that BullMQ uses serves as well. */
export interface RedisConnection {
  /** Sends one command. While there is no connection it may wait or reject. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>
}

/** A command failed, or was not answered in time. */
export class RedisError extends Error {
  override readonly name = 'RedisError'
}

/** @param timeout of the answer, in ms @throws RedisError */
export async function sendCommand(
  connection: RedisConnection,
  timeout: number,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<never>((_resolve, reject) => {
    const timeoutError = new RedisError(`Redis did not answer ${command} within ${timeout} ms`)
    timer = setTimeout(() => reject(timeoutError), Math.max(0, timeout))
  })
  try {
    return await Promise.race([connection.call(command, ...args), timedOut])
  } catch (error) {
    if (error instanceof RedisError) throw error
    throw new RedisError(error instanceof Error ? error.message : 'Redis failed')
  } finally {
    clearTimeout(timer)
  }
}

/** A text reply. */
export function stringReply(reply: unknown): string | null {
  return typeof reply === 'string' ? reply : null
}

/** A reply that is a list of texts. */
export function stringListReply(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}

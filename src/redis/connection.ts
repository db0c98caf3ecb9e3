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
export class RedisFailure extends Error {
  override readonly name = 'RedisFailure'
}

/** @param timeout of the answer, in ms @throws RedisFailure */
export async function ask(
  connection: RedisConnection,
  timeout: number,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const failure = new RedisFailure(`Redis did not answer ${command} within ${timeout} ms`)
    timer = setTimeout(() => reject(failure), Math.max(0, timeout))
  })
  try {
    return await Promise.race([connection.call(command, ...args), late])
  } catch (error) {
    if (error instanceof RedisFailure) throw error
    throw new RedisFailure(error instanceof Error ? error.message : 'Redis failed')
  } finally {
    clearTimeout(timer)
  }
}

/** A text reply. */
export function textOf(reply: unknown): string | null {
  return typeof reply === 'string' ? reply : null
}

/** A reply that is a list of texts. */
export function textsOf(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}

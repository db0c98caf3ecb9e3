/**
 * Sends commands over a Redis connection, with a timeout. The caller creates and closes the client; `ioredis`
 * is never loaded here. Errors of the client may contain the arguments of a command, such as a password,
 * so only their messages are passed on.
 */
import { isError } from '../util/error-shape.js'

/** An `ioredis` client, or any object with its `call` method. May be shared with BullMQ. */
export interface RedisConnection {
  /** Sends one command. While disconnected, it may wait or reject. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>
}

/** A command failed or timed out. */
export class RedisError extends Error {
  override readonly name = 'RedisError'
  /** Whether Redis answered, such as that a key has a value of another type. */
  readonly isReply: boolean

  constructor(message: string, { isReply = false }: { isReply?: boolean } = {}) {
    super(message)
    this.isReply = isReply
  }
}

/**
 * Sends a command and resolves to its reply.
 * @param timeout – maximum time to wait for the reply, in ms
 * @throws RedisError if the command fails or times out
 */
export async function sendCommand(
  connection: RedisConnection,
  timeout: number,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<never>((_resolve, reject) => {
    const timeoutError = new RedisError(`Redis did not respond to ${command} within ${timeout} ms`)
    timer = setTimeout(() => reject(timeoutError), Math.max(0, timeout))
  })
  try {
    return await Promise.race([connection.call(command, ...args), timedOut])
  } catch (error) {
    if (error instanceof RedisError) throw error
    if (!isError(error)) throw new RedisError('Redis failed')
    // Redis quotes the arguments of a command that it does not know, such as a password.
    const message = error.message.replace(/,? with args beginning with:.*$/s, '')
    throw new RedisError(message, { isReply: error.name === 'ReplyError' })
  } finally {
    clearTimeout(timer)
  }
}

/** Returns a string reply, or `null` for any other one. */
export function stringReply(reply: unknown): string | null {
  return typeof reply === 'string' ? reply : null
}

/**
 * Returns the elements of an array reply as strings, or an empty array for any other reply. Pairs are flattened, since
 * their shape depends on the client's version of the protocol.
 */
export function stringListReply(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.flat().map(String) : []
}

/** Facts about a Redis server, as far as it reveals them: managed servers and restricted users refuse some commands. */
import { errorMessage } from '../../util/error-shape.js'

/** Client of one server. */
export interface RedisServerClient {
  /** Sends one command. */
  call(command: string, ...args: string[]): Promise<unknown>
}

export interface RedisFacts {
  /** Fields of INFO, or the reason why it was refused. */
  readonly info: ReadonlyMap<string, string> | string
  /** `appendfsync` and `save`; `undefined` where CONFIG is refused. */
  readonly appendfsync: string | undefined
  readonly save: string | undefined
  /** ms by which the clock of Redis is ahead of the clock of this host, if it is known. */
  readonly clockAhead: number | undefined
}

export async function readRedisFacts(client: RedisServerClient): Promise<RedisFacts> {
  const info = await client.call('INFO').then(parseInfo, errorMessage)
  const appendfsync = await readConfig(client, 'appendfsync')
  const save = await readConfig(client, 'save')
  return { info, appendfsync, save, clockAhead: await readClock(client).catch(() => undefined) }
}

/** Parses lines of `name:value`. */
function parseInfo(reply: unknown): ReadonlyMap<string, string> {
  const lines = String(reply).matchAll(/^(\w+):([^\r\n]*)/gm)
  return new Map([...lines].map(([, name = '', value = '']) => [name, value]))
}

async function readConfig(client: RedisServerClient, name: string): Promise<string | undefined> {
  const reply = await client.call('CONFIG', 'GET', name).catch(() => undefined)
  const value: unknown = Array.isArray(reply) ? reply[1] : undefined
  return typeof value === 'string' ? value : undefined
}

async function readClock(client: RedisServerClient): Promise<number | undefined> {
  const sentAt = Date.now()
  const reply = await client.call('TIME')
  const receivedAt = Date.now()
  const [seconds, microseconds] = Array.isArray(reply) ? reply.map(Number) : []
  if (seconds === undefined || microseconds === undefined) return undefined
  return seconds * 1_000 + microseconds / 1_000 - (sentAt + receivedAt) / 2
}

/** Check of Redis at the start of a worker. It never delays or stops a worker that can work. */
import { SpoolError } from '../errors.js'
import { checkRedis } from './doctor/redis.js'
import type { CliRedis } from './redis-connection.js'
import type { Session } from './session.js'

/**
 * Logs one warning for each thing that Redis can lose. If Redis is unreachable, it is checked once it answers.
 * @throws SpoolError `ERR_SPOOL_UNREADABLE` if Redis answers, but BullMQ cannot work with it
 */
export async function checkRedisAtStart(session: Session, redis: CliRedis): Promise<void> {
  if (await redis.isReachable()) {
    const [failure] = await logFindings(session, redis)
    if (failure !== undefined) throw failure
    return
  }
  redis.client.once('ready', () => {
    logFindings(session, redis).then(
      failures => {
        for (const { message } of failures) session.logLine(message, { level: 'warn' })
      },
      () => {}, // unreachable again
    )
  })
}

/** Logs the warnings, and resolves to the failures. */
async function logFindings(session: Session, { client }: CliRedis): Promise<SpoolError[]> {
  const results = await checkRedis(client)
  for (const { state, message, hint } of results) {
    if (state === 'warning') session.logLine(`${message}. ${hint}`, { level: 'warn' })
  }
  const failed = results.filter(({ state }) => state === 'failed')
  return failed.map(({ message, hint }) => {
    const details = hint === undefined ? {} : { hint: `${hint}.` }
    return new SpoolError('ERR_SPOOL_UNREADABLE', `Redis cannot be used: ${message}`, details)
  })
}

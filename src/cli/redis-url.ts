/** URL of Redis. Errors never quote it, since it may contain a password. */
import { UsageError } from './exit-status.js'

/**
 * Checks the URL of Redis. A password is not accepted from an argument, because every user can see those.
 * @param isArgument – it is the value of --redis
 * @throws UsageError if the URL is missing or invalid
 */
export function checkRedisUrl(url: string | undefined, isArgument: boolean): string {
  if (url === undefined)
    throw new UsageError('No Redis URL: set --redis or REDIS_URL, for example to redis://10.0.0.5')
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new UsageError('The URL of Redis must be redis://HOST[:PORT][/DB] or rediss://...')
  }
  if (isArgument && hasPassword(new URL(url))) {
    throw new UsageError('A password in --redis is visible to every user. Set REDIS_URL instead')
  }
  return url
}

/** The client also accepts options in the query: `?password=`, `?sentinelPassword=`. */
function hasPassword({ password, searchParams }: URL): boolean {
  return password !== '' || [...searchParams.keys()].some(name => /password/i.test(name))
}

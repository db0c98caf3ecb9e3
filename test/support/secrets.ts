/** Secrets used by tests. Their values are easy to find wherever they must not appear. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export const SECRETS = {
  accessKeySecret: 'hunter2KeySecretDoNotShow',
  stsToken: 'hunter2StsTokenDoNotShow',
  endpointPassword: 'hunter2EndpointDoNotShow',
  proxyPassword: 'hunter2ProxyDoNotShow',
  redisPassword: 'hunter2RedisDoNotShow',
} as const

/** Returns the names of the secrets that occur in `text`, as plain text, base64 or hex. */
export function secretsIn(
  text: string | Buffer,
  more: Readonly<Record<string, string>> = {},
): string[] {
  const where = text.toString('latin1')
  return Object.entries({ ...SECRETS, ...more })
    .filter(([, secret]) =>
      ['utf8', 'base64', 'hex'].some(as => where.includes(core(secret, as as BufferEncoding))),
    )
    .map(([name]) => name)
}

/** Returns the names of the secrets that occur in files under `directory` or in their paths. */
export function secretsUnder(directory: string, more?: Readonly<Record<string, string>>): string[] {
  return readdirSync(directory, { recursive: true })
    .map(name => join(directory, String(name)))
    .flatMap(path =>
      secretsIn(path, more).concat(
        statSync(path).isFile() ? secretsIn(readFileSync(path), more) : [],
      ),
    )
}

/** Returns the part of an encoded secret that does not depend on the bytes around it. */
function core(secret: string, encoding: BufferEncoding): string {
  const text = Buffer.from(secret).toString(encoding)
  return encoding === 'base64' ? text.slice(0, Math.floor(secret.length / 3) * 4) : text
}

/**
 * Verifies the TLS certificate against the host we connect to. By default, Node uses the `Host` header, which is
 * the bucket's domain even if the endpoint is an IP address.
 */
import type * as http from 'node:http'
import type * as https from 'node:https'
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'

/** Returns the TLS options of a request to `hostname`. Options of an agent take precedence. */
export function tlsIdentityOptions(hostname: string): https.RequestOptions {
  return {
    servername: isIP(hostname) === 0 ? hostname : '', // SNI does not support IP addresses
    checkServerIdentity: (_, certificate) => checkServerIdentity(hostname, certificate),
  }
}

/**
 * Returns a warning if requests to `endpoint` accept every certificate: someone on the network can then pass for OSS,
 * and gets the bytes and signed requests.
 * @param agent – the caller's agent, if there is one; its options take precedence
 */
export function unverifiedTlsWarning(
  endpoint: string,
  agent: http.Agent | undefined,
  env: NodeJS.ProcessEnv,
): string | undefined {
  if (!endpoint.startsWith('https:')) return undefined
  // Agents of other packages and realms have the property, too, without the class.
  const { rejectUnauthorized } = (agent as Partial<https.Agent> | undefined)?.options ?? {}
  const isVerified = rejectUnauthorized ?? env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0'
  if (isVerified) return undefined
  const cause =
    rejectUnauthorized === undefined ? 'NODE_TLS_REJECT_UNAUTHORIZED=0' : 'the agent of the client'
  return `TLS certificates are not verified, because ${cause} turns that off: anyone on the network can pass for ${endpoint}. Trust its certificate authority with "ca" or NODE_EXTRA_CA_CERTS instead`
}

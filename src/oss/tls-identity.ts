/**
 * Verifies the TLS certificate against the host we connect to. By default, Node uses the `Host` header, which is
 * the bucket's domain even if the endpoint is an IP address.
 */
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
